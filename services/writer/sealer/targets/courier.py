"""Brings the newest checkpoint to one target, in a task of its own: again and again, and never in anybody's way.

What is not taken yet is replaced by what is newer: a checkpoint covers all before it. A target that fails is tried again
with growing pauses, and is an alert once it has failed for a while. What a target gave back is kept.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from services.common.clock import Clock, system_clock
from services.common.errors import TransientError
from services.common.logging import get_logger
from services.writer.alert import Alert
from services.writer.sealer import alerts
from services.writer.sealer.metrics import SealerMetrics

log = get_logger(__name__)
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 60.0


class ContradictionError(Exception):
    """The target holds another history under our name."""


class Receipt(NamedTuple):
    """A row of audit.publication: what a target gave back for a checkpoint of `size` seals."""

    target: str
    size: int
    published_us: int
    receipt: bytes


class Carrier(Protocol):
    """How one kind of target is talked to. `every_s`: it is not given more than one checkpoint in so many seconds."""

    name: str
    every_s: float

    async def deliver(self, size: int, note: bytes) -> bytes:
        """Durable at the target, and checked, when it returns what is to be kept as receipt. Raises TransientError
        where it is not, ContradictionError where the target knows better. May be cancelled, and is done again."""


@dataclass
class Desk:
    """What all couriers share: who hears alerts and keeps receipts, the metrics, after how many seconds a target that
    fails is an alert (`alarm_s`), how long one delivery may take (`seconds`)."""

    say: Callable[[Sequence[Alert]], Awaitable[None]]
    keep: Callable[[Receipt], None]
    metrics: SealerMetrics
    alarm_s: float
    seconds: float
    clock: Clock = system_clock


class Courier:
    """A target (outlet.Target). `on_done` hears after each try whether the target is idle or in trouble."""

    def __init__(self, carrier: Carrier, desk: Desk, on_done: Callable[[], None] = lambda: None) -> None:
        self.name = carrier.name
        self._carrier = carrier
        self._desk = desk
        self._on_done = on_done
        self._newest: tuple[int, bytes] | None = None
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failing_since: tuple[int, float] | None = None

    @property
    def busy(self) -> bool:
        """Whether it has something to bring and nothing went wrong so far."""
        return self._newest is not None and self._failing_since is None

    def offer(self, size: int, note: bytes) -> None:
        """The newest checkpoint. Does not block."""
        self._newest = (size, note)
        self._news.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"target {self.name}")

    async def close(self) -> None:
        """Gives up what is under way."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            await self._news.wait()
            self._news.clear()
            if self._newest is None:
                continue
            if await self._try(*self._newest):
                pause_s = FIRST_PAUSE_S
                await asyncio.sleep(self._carrier.every_s)
            else:
                self._news.set()
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _try(self, size: int, note: bytes) -> bool:
        try:
            async with asyncio.timeout(self._desk.seconds):
                receipt = await self._carrier.deliver(size, note)
        except ContradictionError as error:
            await self._failed(str(error), alerts.forked(self.name, size, str(error)))
            return False
        except (TransientError, OSError) as error:  # TimeoutError is one
            await self._failed(str(error) or f"no answer within {self._desk.seconds:g} s")
            return False
        except Exception as error:
            # A fault of ours: the task must not end unseen, and checkpoints must go out once it is mended.
            log.exception("target_fault", target=self.name)
            await self._failed(repr(error))
            return False
        self._taken(size, note, receipt)
        return True

    def _taken(self, size: int, note: bytes, receipt: bytes) -> None:
        now_us = self._desk.clock()
        if self._failing_since is not None:
            log.info("target_works_again", target=self.name, size=size)
        self._failing_since = None
        if self._newest == (size, note):
            self._newest = None
        self._desk.keep(Receipt(self.name, size, now_us, receipt))
        self._desk.metrics.published_at.labels(self.name).set(now_us / 1_000_000)
        log.info("published", target=self.name, size=size)
        self._on_done()

    async def _failed(self, text: str, alert: Alert | None = None) -> None:
        if self._failing_since is None:
            self._failing_since = (self._desk.clock(), time.monotonic())
        since_us, since = self._failing_since
        self._desk.metrics.failures.labels(self.name).inc()
        log.warning("target_failed", target=self.name, error=text)
        self._on_done()
        said = [] if alert is None else [alert]
        if time.monotonic() - since >= self._desk.alarm_s:
            said.append(alerts.target_fails(self.name, since_us, text))
        try:
            if said:
                await self._desk.say(said)
        except Exception:
            # Whatever keeps alerts from being said must not end this task: they are said again with the next failure.
            log.exception("alert_not_said", target=self.name)
