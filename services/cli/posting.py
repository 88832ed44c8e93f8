"""Events to ingest over HTTP, each accounted for: taken, or refused and why."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from http import HTTPStatus
from itertools import islice
from typing import NamedTuple

import httpx

from services.common.errors import ConfigurationError, TransientError

BATCH = 500
JSON_LINES = "application/x-ndjson"
_PATIENCE_S = 60.0
_BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


class Posted(NamedTuple):
    """How many events ingest has taken durably, and of each that it refused, why."""

    taken: int
    refused: list[str]


def open_client(url: str, key: str = "", authority: str = "") -> httpx.Client:
    """A client for ingest at `url`; `key` is an API key, `authority` a PEM file that vouches for ingest's certificate in
    place of the usual ones. Proxies of the environment are not asked. Raises ConfigurationError."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        trusted = ssl.create_default_context(cafile=authority) if authority else True
    except OSError as error:
        raise ConfigurationError(
            f"INGEST_CAFILE={authority} cannot be used ({error}): it must be PEM"
        ) from error
    return httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False, verify=trusted)


def post_all(
    client: httpx.Client, events: Iterable[bytes], progress: Callable[[int], None] = lambda _count: None
) -> Posted:
    """POSTs the events (JSON, one each) to /v1/events in batches. A batch that is refused is halved until only the
    events at fault are left out. Raises TransientError where ingest is away."""
    taken, refused, source = 0, [], iter(events)
    while batch := list(islice(source, BATCH)):
        for part, reason in _post(client, batch):
            if reason is None:
                taken += len(part)
            else:
                refused += [reason] * len(part)
        progress(taken)
    return Posted(taken, refused)


def _post(client: httpx.Client, events: Sequence[bytes]) -> Iterator[tuple[Sequence[bytes], str | None]]:
    answer = patiently(client, "/v1/events", b"\n".join(events), {"content-type": JSON_LINES})
    if answer.is_success:
        yield events, None
    elif len(events) == 1 or answer.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        yield events, why(answer)
    else:
        half = len(events) // 2
        yield from _post(client, events[:half])
        yield from _post(client, events[half:])


def patiently(client: httpx.Client, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
    """The answer to a POST; where ingest is too busy (429, 503) it is asked again as it says, for a minute."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            answer = client.post(path, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise TransientError(f"ingest does not answer at {client.base_url}: {error}") from error
        if answer.status_code not in _BUSY or time.monotonic() > deadline:
            return answer
        pause = answer.headers.get("retry-after", "1")
        time.sleep(min(5.0, float(pause) if pause.isdigit() else 1.0))


def why(answer: httpx.Response) -> str:
    """What a problem (RFC 9457) says, in one line."""
    try:
        detail = answer.json().get("detail", "")
    except (ValueError, AttributeError):
        detail = answer.text[:200]
    return f"{answer.status_code} {detail}"
