"""One POST, as the witness and the time-stamp protocols need it: no redirects, no more than a megabyte of answer."""

from __future__ import annotations

from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from services.common.errors import TransientError

_MOST_BYTES = 1_000_000


class Answer(NamedTuple):
    """What a server said. `kind` is its Content-Type without parameters."""

    status: int
    kind: str
    body: bytes

    def short(self) -> str:
        """For a log: the status and the first words."""
        return f"{self.status} {self.body[:120].decode('utf-8', 'replace').strip()!r}"


class _Stay(HTTPRedirectHandler):
    """A redirect is an answer like any other: what we send goes where the settings say."""

    def redirect_request(self, *_arguments: Any) -> None:
        return None


_OPENER = build_opener(_Stay)


def post(url: str, body: bytes, kind: str, seconds: float) -> Answer:
    """Blocks. Any status is an answer. Raises TransientError where there is none."""
    headers = {"Content-Type": kind, "User-Agent": "piperoll-sealer"}
    request = Request(url, data=body, headers=headers, method="POST")  # noqa: S310 - http or https by the settings
    try:
        with _OPENER.open(request, timeout=seconds) as response:
            return _answer(response, response.status)
    except HTTPError as error:
        with error:
            return _answer(error, error.code)
    except (OSError, HTTPException, ValueError) as error:
        raise TransientError(f"{url} does not answer: {error}") from error


def _answer(response: Any, status: int) -> Answer:
    body = response.read(_MOST_BYTES + 1)
    if len(body) > _MOST_BYTES:
        raise TransientError(f"an answer of more than {_MOST_BYTES} bytes")
    return Answer(status, response.headers.get_content_type(), body)
