"""How many requests may be made: some a minute, and so many in all from the start of the process.

One process counts for itself; a limit over several processes and across restarts is not kept here.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

_MINUTE_S = 60.0


class Budget:
    """`take` before each request. Everything counts: attempts, repeats, refused ones."""

    def __init__(
        self,
        a_minute: int,
        in_all: int,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._a_minute = a_minute
        self._left = in_all
        self._sleep = sleep
        self._now = now
        self._lately: deque[float] = deque()

    @property
    def spent(self) -> bool:
        """Whether no request is left."""
        return self._left <= 0

    async def take(self) -> bool:
        """Waits until a request may be made this minute; False where none is left at all."""
        while not self.spent:
            now = self._now()
            while self._lately and self._lately[0] <= now - _MINUTE_S:
                self._lately.popleft()
            if len(self._lately) < self._a_minute:
                self._lately.append(now)
                self._left -= 1
                return True
            await self._sleep(self._lately[0] + _MINUTE_S - now)
        return False
