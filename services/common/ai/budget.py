"""May this request be made, and what did it cost: asked of the account on audit.ai-budget before each request."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol
from uuid import uuid4

from services.common.ai.account import (
    Account,
    Entry,
    Granted,
    Limits,
    Purpose,
    Refused,
    Release,
    Reserve,
    Settle,
)
from services.common.ai.prices import Price

_LEAST_S, _LONGEST_S, _OVER_S = 0.05, 61.0, 2.0


class BudgetLog(Protocol):
    """The log and the account after it. Durable when `append` returns; `decide` says what became of one's own entry."""

    account: Account

    async def append(self, entry: Entry) -> None:
        """Appends, and does not wait for the account to get there."""

    async def decide(self, entry: Reserve) -> Granted | Refused:
        """Appends, and reads up to there."""


class MemoryLog:
    """A log in memory: one process, no restart. `now_ms`: milliseconds since 1970 UTC."""

    def __init__(self, now_ms: Callable[[], float]) -> None:
        self.account = Account()
        self.entries: list[Entry] = []
        self.now_ms = now_ms

    async def append(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.account.apply(entry, int(self.now_ms()))

    async def decide(self, entry: Reserve) -> Granted | Refused:
        self.entries.append(entry)
        decision = self.account.apply(entry, int(self.now_ms()))
        assert decision is not None
        return decision


class Wanted(NamedTuple):
    """A request to be paid: `tokens_in` and `tokens_out` at most."""

    purpose: Purpose
    tokens_in: int
    tokens_out: int
    source: str = ""
    claim: str = ""


class Grant(NamedTuple):
    """A reservation; `claim` is what it claims."""

    id: str
    tokens: int
    micro: int
    claim: str


class Budget:
    """Reserves before, settles after. `price` None: the cost is not known, and no limit is in dollars."""

    def __init__(
        self,
        log: BudgetLog,
        limits: Limits,
        price: Price | None,
        *,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        now: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], float] = lambda: time.time() * 1000,
    ) -> None:
        self._log = log
        self._limits = limits
        self.price = price
        self._sleep = sleep
        self._now = now
        self._now_ms = now_ms
        self._over: dict[str, tuple[float, Refused]] = {}
        self._closed: dict[int, tuple[float, Refused]] = {}
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def age(self, source: str) -> int:
        """As `Account.age`: 0 for a source that is new here."""
        return self._log.account.age(source, int(self._now_ms()))

    async def reserve(self, wanted: Wanted) -> Grant | Refused:
        """Waits for a minute's limit. Refused: the month's limit, the source's, or claimed by somebody else."""
        tokens = wanted.tokens_in + wanted.tokens_out
        micro = self.micro(wanted.tokens_in, wanted.tokens_out) or 0
        # One of a purpose at a time: who waits for room does not write into the log again and again.
        async with self._turns[wanted.purpose]:
            until, refused = self._over.get(wanted.purpose, (0.0, None))
            if refused is not None and self._now() < until:
                return refused  # a month that is used up is not asked about for every event
            age = self.age(wanted.source) if wanted.source else -1
            until, refused = self._closed.get(age, (0.0, None))
            if refused is not None and self._now() < until:
                return refused  # nor what all sources of an age have had, for every source that is made up
            while True:
                entry = Reserve(
                    uuid4().hex, wanted.purpose, tokens, micro, self._limits, wanted.source, wanted.claim
                )
                decision = await self._log.decide(entry)
                if isinstance(decision, Granted):
                    return Grant(entry.id, tokens, micro, wanted.claim)
                if decision.limit.startswith("month"):
                    self._over[wanted.purpose] = (self._now() + _OVER_S, decision)
                if decision.limit == "sources":
                    again_s = (decision.again_ms or 0) / 1000
                    self._closed[age] = (self._now() + min(max(again_s, _LEAST_S), _LONGEST_S), decision)
                if not decision.limit.startswith("minute") or decision.again_ms is None:
                    return decision
                await self._sleep(min(max(decision.again_ms / 1000, _LEAST_S), _LONGEST_S))

    async def settle(self, grant: Grant, tokens_in: int, tokens_out: int) -> None:
        """The request is done and took so much."""
        micro = self.micro(tokens_in, tokens_out) or 0
        await self._log.append(Settle(grant.id, tokens_in + tokens_out, micro))

    async def release(self, grant: Grant) -> None:
        """What was claimed may be asked about by others."""
        if grant.claim:
            await self._log.append(Release(grant.claim, grant.id))

    def micro(self, tokens_in: int, tokens_out: int) -> int | None:
        """Micro-dollars for so many tokens, rounded up; None without a price."""
        return None if self.price is None else self.price.micro(tokens_in, tokens_out)
