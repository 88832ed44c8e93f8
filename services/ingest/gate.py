"""The bound on what ingest holds: a number of requests and bytes of bodies until they are durable.

Beyond it a request is refused before its body is read, so memory does not grow with the load. What a request needs
in all (body, records, Kafka's buffers) is a small multiple of its body.
"""

from __future__ import annotations

from typing import Self

from services.ingest.problems import ProblemError, unavailable

RETRY_AFTER = 1


class Gate:
    """Counts what is in flight. Used from one event loop only."""

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self.max_requests = max_requests
        self.max_bytes = max_bytes
        self.requests = 0
        self.bytes = 0

    def enter(self) -> Place:
        """A place for a request. Raises ProblemError (503) where none is free."""
        if self.requests >= self.max_requests:
            raise _full(f"{self.requests} requests are in flight")
        self.requests += 1
        return Place(self)


class Place:
    """The place of one request, given back at the end of its `with`."""

    __slots__ = ("_gate", "_held")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._held = 0

    def hold(self, size: int) -> None:
        """Holds bytes up to `size` in all. Raises ProblemError (503) where there is no room."""
        more = size - self._held
        if more <= 0:
            return
        if self._gate.bytes + more > self._gate.max_bytes:
            raise _full(f"{self._gate.bytes} bytes are in flight")
        self._gate.bytes += more
        self._held = size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._gate.requests -= 1
        self._gate.bytes -= self._held


def _full(what: str) -> ProblemError:
    return unavailable(
        "overload",
        f"Too much at once: {what}. Nothing of this request was recorded: wait and send it again.",
        RETRY_AFTER,
    )
