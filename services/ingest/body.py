"""Reading a request's body: bounded in bytes and time, and never taken for whole where the client went away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from services.ingest.gate import Place
from services.ingest.problems import ProblemError, too_large

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


_SHORT_BYTES = 64 * 1024
_DISCARDED_BYTES = 64 * 1024 * 1024
_DISCARD_SECONDS = 1.0


class ClientGoneError(Exception):
    """The client closed the connection before its body was whole: there is nobody to answer."""


class Incoming:
    """A request's body on its way: ASGI's `receive`, which knows whether all of it has come."""

    __slots__ = ("_expects", "_left", "_receive", "_tired", "whole")

    def __init__(self, receive: Receive, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._receive = receive
        self._left: int | None = 0
        self._expects = self._tired = False
        for name, value in headers:
            if name == b"transfer-encoding":
                self._left = None
            elif name == b"content-length" and self._left is not None:
                self._left = int(value)
            elif name == b"expect":
                self._expects = True
        self.whole = self._left == 0

    async def __call__(self) -> MutableMapping[str, Any]:
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            self.whole = True  # or the client is gone: nothing more comes
        elif self._left is not None:
            self._left -= len(message.get("body", b""))
            self.whole = self._left <= 0
        return message

    @property
    def short(self) -> bool:
        """Whether what is still to come is so little that reading it costs less than a new connection, and comes unasked."""
        return self._left is not None and self._left <= _SHORT_BYTES and not self._expects

    async def discard(self) -> None:
        """Throws away what is still coming, within reason. A connection that is closed on a client that still
        sends is reset, and the client may never read its answer (RFC 9112, 9.6). Once: whoever stalls is not waited for again."""
        if self._tired:
            return
        self._tired = True
        left = _DISCARDED_BYTES
        with suppress(TimeoutError):
            async with asyncio.timeout(_DISCARD_SECONDS):
                while not self.whole and left > 0:
                    left -= len((await self()).get("body", b""))


async def read_body(
    receive: Receive, place: Place, *, declared: int | None, limit: int, setting: str, seconds: float
) -> bytes:
    """The body, of `limit` bytes at most (which `setting` sets); `declared` is its Content-Length.

    Raises ProblemError (413 too large, 408 too slow, 503 no room) and ClientGoneError.
    """
    if declared is not None:
        if declared > limit:
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
        ) from None


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
            raise too_large("The body", limit, setting)
        chunks.append(chunk)
        # With a Content-Length the last byte is known: the message that says so would cost another turn of the loop.
        if size == declared or not message.get("more_body", False):
            return b"".join(chunks)
        place.hold(size)
