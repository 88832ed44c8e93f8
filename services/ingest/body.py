"""Reading a request's body: bounded in bytes and time, and never taken for whole where the client went away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from services.ingest.gate import Place
from services.ingest.problems import ProblemError, too_large

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


_DISCARDED_BYTES = 64 * 1024 * 1024
_DISCARD_SECONDS = 1.0


class ClientGoneError(Exception):
    """The client closed the connection before its body was whole: there is nobody to answer."""


async def read_body(
    receive: Receive, place: Place, *, declared: int | None, limit: int, setting: str, seconds: float
) -> bytes:
    """The body, of `limit` bytes at most (which `setting` sets); `declared` is its Content-Length.

    Raises ProblemError (413 too large, 408 too slow, 503 no room) and ClientGoneError.
    """
    if declared is not None:
        if declared > limit:
            await _discard(receive)
            raise too_large("The body", limit, setting)
        place.hold(declared)
    try:
        async with asyncio.timeout(seconds):
            return await _read(receive, place, declared, limit, setting)
    except TimeoutError:
        raise ProblemError(
            HTTPStatus.REQUEST_TIMEOUT,
            "body-too-slow",
            f"The body had not come after {seconds:g} s. Nothing was recorded: send it again.",
            headers={b"connection": b"close"},
        ) from None


async def _discard(receive: Receive) -> None:
    """Throws away what is still coming, within reason: many clients read no answer before they have sent all."""
    left = _DISCARDED_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_SECONDS):
            while left > 0:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                left -= len(message["body"])


async def _read(receive: Receive, place: Place, declared: int | None, limit: int, setting: str) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGoneError
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            chunks.clear()
            await _discard(receive)
            raise too_large("The body", limit, setting)
        chunks.append(chunk)
        # With a Content-Length the last byte is known: the message that says so would cost another turn of the loop.
        if size == declared or not message.get("more_body", False):
            return b"".join(chunks)
        place.hold(size)
