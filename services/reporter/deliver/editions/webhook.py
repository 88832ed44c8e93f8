"""Reports to a webhook: one JSON object with the figures and the files in base64, signed, under a stable id."""

from __future__ import annotations

import asyncio
import base64
import json
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import httpx

from services.common.clock import Clock
from services.common.errors import TransientError
from services.reporter.deliver.editions.parcel import Begin, Parcel, UncertainError
from services.reporter.deliver.targets import SIGNATURE_HEADER, signature

MOST_BYTES = 32 * 1024 * 1024
"""Of all files together; larger ones are named by hash and size alone."""
_TIMEOUT_S = 60.0
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.InvalidURL, httpx.UnsupportedProtocol)


class Webhook:
    """Any address (parcel.Outlet). Only a 2xx is a delivery, and no redirect is followed."""

    def __init__(self, secret: str | None, clock: Clock) -> None:
        self._secret = secret
        self._clock = clock

    async def deliver(self, parcel: Parcel, begin: Begin) -> dict[str, Any]:
        """Raises UncertainError where no answer came."""
        body = await asyncio.to_thread(_body, parcel)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "piperoll",
            "Idempotency-Key": parcel.key,
        }
        if self._secret is not None:
            headers[SIGNATURE_HEADER] = signature(self._secret, self._clock() // 1_000_000, body)
        await begin()
        try:
            async with httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False) as client:
                answer = await client.post(parcel.address, content=body, headers=headers)
        except _NOT_SENT as error:
            raise TransientError(f"the webhook is not reached: {type(error).__name__}") from None
        except (httpx.HTTPError, OSError) as error:
            raise UncertainError(f"the webhook did not answer: {type(error).__name__}") from None
        if not answer.is_success:
            raise TransientError(f"the webhook answered {answer.status_code}")
        return {
            "idempotency_key": parcel.key,
            "status": answer.status_code,
            "files": [one.name for one in parcel.files],
        }


def _body(parcel: Parcel) -> bytes:
    facts = parcel.letter.facts or {}
    room = MOST_BYTES
    files = []
    for path in parcel.files:
        told, size = _file(path, room)
        room -= size
        files.append(told)
    return json.dumps({"type": "piperoll.report", "id": parcel.key, **facts, "files": files}).encode()


def _file(path: Path, room: int) -> tuple[dict[str, Any], int]:
    size = path.stat().st_size
    told = {"name": path.name, "bytes": size}
    with path.open("rb") as file:
        if size > room:  # of gigabytes, perhaps: never into memory
            return told | {"sha256": file_digest(file, "sha256").hexdigest(), "content_base64": None}, 0
        data = file.read()
    more = {"sha256": sha256(data).hexdigest(), "content_base64": base64.b64encode(data).decode()}
    return told | more, size
