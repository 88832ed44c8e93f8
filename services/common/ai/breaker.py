"""When to ask: not at all while the model is away, and one request at a time until it is back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from services.common.ai.outcome import NOT_ASKED, WAITS, Answer, Failure, Kind
from services.common.logging import get_logger

log = get_logger(__name__)

_LONGEST_S = 60.0
_UNTIL_FIXED_S = 180.0
"""Between attempts where somebody must act first: key, model, quota."""
_LONGEST_RETRY_AFTER_S = 3600.0
Sleep = Callable[[float], Awaitable[None]]


class Breaker:
    """Closed until a request fails in a way that concerns all; then each waits for the one before it, which waits
    1, 2, 4 … 60 seconds, or what Retry-After says, or three minutes where somebody must act. `successes` counts."""

    def __init__(self, *, sleep: Sleep = asyncio.sleep, now: Callable[[], float] = time.monotonic) -> None:
        self._sleep = sleep
        self._now = now
        self._one_at_a_time = asyncio.Lock()
        self._failures = 0
        self._until = 0.0
        self._kind: Kind | None = None
        self.successes = 0

    @property
    def open(self) -> bool:
        """Whether asking is stopped."""
        return self._failures > 0

    async def run(self, request: Callable[[], Awaitable[Answer | Failure]]) -> Answer | Failure:
        """Makes the request as soon as it may be made, and notes how it went."""
        if not self.open:
            return self._note(await request(), alone=False)
        async with self._one_at_a_time:
            while self.open and (wait := self._until - self._now()) > 0:
                await self._sleep(wait)
            return self._note(await request(), alone=True)

    def _note(self, result: Answer | Failure, *, alone: bool) -> Answer | Failure:
        if isinstance(result, Failure) and result.kind in WAITS:
            # Those under way when the first one failed tell of the same trouble: the pause does not grow by them.
            self._failures += alone or not self.open
            delay = self._delay(result)
            self._until = self._now() + delay
            if result.kind != self._kind:
                self._kind = result.kind
                log.error("ai_stopped", why=result.kind, fix=result.advice, next_attempt_in_s=round(delay, 1))
            return result
        if isinstance(result, Failure) and result.kind in NOT_ASKED:
            return result  # nothing was asked
        if self.open:
            log.info("ai_resumed", failed_attempts=self._failures)
        self._failures, self._kind = 0, None
        self.successes += isinstance(result, Answer)
        return result

    def _delay(self, failure: Failure) -> float:
        if failure.retry_after_s is not None:
            return min(failure.retry_after_s, _LONGEST_RETRY_AFTER_S)
        if failure.kind in ("key", "model", "quota"):
            return _UNTIL_FIXED_S
        return min(2.0 ** (self._failures - 1), _LONGEST_S)
