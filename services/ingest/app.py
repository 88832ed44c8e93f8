"""The ASGI application: the two ways in, and FastAPI for everything else.

The ways in are called directly, without FastAPI's routing and middleware: that is 60 % more events a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

from services.common.errors import FatalError
from services.common.logging import get_logger
from services.ingest.answers import Answer
from services.ingest.body import ClientGoneError, Incoming, Receive
from services.ingest.head import Head
from services.ingest.pages import build_pages
from services.ingest.problems import ProblemError
from services.ingest.proofs import Proofs
from services.ingest.routes import Routes

log = get_logger(__name__)

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Handler = Callable[[Head, Receive], Awaitable[Answer]]
_OUR_MISTAKE = ProblemError(
    HTTPStatus.INTERNAL_SERVER_ERROR,
    "internal-error",
    "Something is wrong here, not with the request, and it is not known whether the event was recorded: send it again "
    "with the same id. Whoever runs this finds more in the log.",
)
_BROKEN_OFF = ProblemError(
    HTTPStatus.BAD_REQUEST,
    "body-broken-off",
    "The body ended before it was whole, or its chunks are malformed. Nothing was recorded: send it again.",
)


class Ingest:
    """One ingest; `stopping` refuses new requests."""

    def __init__(self, routes: Routes, proofs: Proofs) -> None:
        self._routes = routes
        self._proofs = proofs
        self._posts: dict[str, Handler] = {"/audit": routes.audit, "/v1/events": routes.events}
        self._open = 0
        self._idle = asyncio.Event()
        self._pages = build_pages(routes.metrics, self._trouble, proofs)
        metrics = routes.metrics
        metrics.in_flight_requests.set_function(lambda: routes.gate.requests)
        metrics.in_flight_bytes.set_function(lambda: routes.gate.bytes)
        metrics.waiting.set_function(lambda: len(routes.replies))

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        handler = self._posts.get(scope["path"]) if scope["method"] == "POST" else None
        incoming = Incoming(receive, scope["headers"])
        if handler is None:
            await self._pages(scope, incoming, _closing(send, incoming))
        else:
            self._open += 1
            try:
                await self._post(handler, scope, incoming, _closing(send, incoming))
            finally:
                self._open -= 1
                if self._open == 0 and self._routes.stopping:
                    self._idle.set()
        if not incoming.whole:
            await incoming.discard()

    async def drain(self, seconds: float) -> None:
        """Refuses new requests, answers those that wait for a reply, and lets the rest become durable."""
        self._routes.stopping = True
        self._routes.replies.release()
        if self._open == 0:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            log.warning("requests_cut", open=self._open, reason=f"not finished after {seconds:g} s")

    async def end(self, seconds: float) -> None:
        """Ends the threads. Raises FatalError where one has failed."""
        await self._proofs.close()
        workers = [self._routes.publisher.worker, self._routes.replies.worker]
        await self._routes.publisher.stop(seconds)
        await self._routes.replies.stop(5.0)
        if any(worker.failed for worker in workers):
            raise FatalError("a thread failed (thread_failed above says why): start ingest again")

    async def _post(
        self, handler: Handler, scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:
        metrics, path = self._routes.metrics, scope["path"]
        begun = time.perf_counter()
        try:
            answer = await handler(Head(scope), receive)
        except ProblemError as problem:
            answer = problem.answer()
        except ClientGoneError:
            metrics.clients_gone.inc()
            answer = _BROKEN_OFF.answer()  # for whoever still listens: broken chunks look the same from here
        except Exception:  # a mistake of ours: logged, and the client hears of it instead of waiting
            log.exception("request_failed", path=path)
            answer = _OUR_MISTAKE.answer()
        metrics.requests.labels(path, answer.status).inc()
        metrics.seconds.labels(path).observe(time.perf_counter() - begun)
        await _send(send, answer)

    def _trouble(self) -> str | None:
        """Why this instance is not ready, None where it is."""
        if self._routes.stopping:
            return "ingest is stopping"
        door = self._routes.door
        keys = None if door is None else door.trouble
        return keys or self._routes.publisher.trouble or self._routes.replies.trouble


async def _send(send: Send, answer: Answer) -> None:
    headers = [*answer.headers, (b"content-length", str(len(answer.body)).encode())]
    await send({"type": "http.response.start", "status": int(answer.status), "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def _closing(send: Send, incoming: Incoming) -> Send:
    """An answer that comes before the body is whole is the connection's last, and says so: a client that used the
    connection again could be cut off without an answer (RFC 9112, 9.3)."""

    async def closing(message: MutableMapping[str, Any]) -> None:
        if not incoming.whole and message["type"] == "http.response.start":
            if incoming.short:
                await incoming.discard()
            if not incoming.whole:
                message["headers"] = [*message["headers"], (b"connection", b"close")]
        await send(message)

    return closing
