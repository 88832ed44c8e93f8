"""The leader's loop: alerts in, digests out, the position committed only after delivery.

Commit points, in order. (1) Every target has taken the digest, or it was given up. A crash here delivers it again, each
alert under its own id. (2) The delivery is acknowledged on audit.system. (3) The position is committed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import msgspec

from schemas.topics import OWN_SOURCE_PREFIX
from services.common.alerts import Said, severity_at_least
from services.common.clock import Clock
from services.common.errors import TransientError
from services.common.logging import get_logger
from services.common.settings import KafkaSettings
from services.reporter.deliver.digest import Digest
from services.reporter.deliver.feed import Feed, Incoming
from services.reporter.deliver.leader import Leadership, leadership
from services.reporter.deliver.metrics import ReporterMetrics
from services.reporter.deliver.settings import DeliverySettings
from services.reporter.deliver.targets import NotDeliveredError, Target

log = get_logger(__name__)
SOURCE = f"{OWN_SOURCE_PREFIX}reporter"
_POLL_MS = 500
_CHECK_S = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_MOST_REMEMBERED = 20_000
_LOGGED = {"low": "info", "medium": "warning", "high": "error", "critical": "critical"}

Result = TypeVar("Result")


class Courier:
    """Runs once, by `run`."""

    def __init__(
        self,
        kafka: KafkaSettings,
        dsn: str,
        settings: DeliverySettings,
        targets: Sequence[Target],
        metrics: ReporterMetrics,
        clock: Clock,
    ) -> None:
        self._kafka = kafka
        self._dsn = dsn
        self._settings = settings
        self._targets = targets
        self._metrics = metrics
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "kafka")
        self._feed: Feed
        self._trouble: str | None = "starting"
        self._stop: asyncio.Event

    def not_ready(self) -> str | None:
        """What is wrong, None if it leads or stands by."""
        return self._trouble

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. Raises ConfigurationError."""
        self._stop, pause_s = stop, _FIRST_PAUSE_S
        while not stop.is_set():
            try:
                self._trouble = None
                async with leadership(self._dsn, self._kafka.topic_prefix, stop) as leader:
                    if leader is not None:
                        await self._lead(leader)
                pause_s = _FIRST_PAUSE_S
            except TransientError as error:
                self._trouble = str(error)
                log.warning("held", error=str(error), pause_s=pause_s)
                await self._wait(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            finally:
                self._metrics.leading.set(0)

    async def _lead(self, leader: Leadership) -> None:
        self._feed = await self._on_kafka(Feed, self._kafka)
        try:
            known = dict.fromkeys(await self._on_kafka(self._feed.begin))
            self._metrics.leading.set(1)
            await self._follow(leader, known)
        finally:
            await self._on_kafka(self._feed.close)

    async def _follow(self, leader: Leadership, known: dict[str, None]) -> None:
        """`known`: ids of alerts that need not be sent again, the oldest first."""
        waiting: list[Said] = []
        position, since, checked = -1, 0.0, time.monotonic()
        while not self._stop.is_set():
            polled = await self._on_kafka(self._feed.poll, _POLL_MS)
            now = time.monotonic()
            if polled:
                position = polled[-1].offset + 1
                since = since if waiting else now
                waiting += self._take(polled, known)
            if now - checked > _CHECK_S:
                await leader.check()
                checked = now
            if position >= 0 and (not waiting or now - since >= self._settings.digest_s):
                if waiting and not await self._deliver(Digest(waiting), leader):
                    return
                await self._on_kafka(self._feed.commit, position)
                waiting, position = [], -1

    def _take(self, polled: Sequence[Incoming], known: dict[str, None]) -> list[Said]:
        """Logs the alerts that are new, and returns those to be sent."""
        new = []
        for _, alert in polled:
            if alert is None or alert.id in known:
                self._metrics.passed.labels("unreadable" if alert is None else "repeated").inc()
                continue
            known[alert.id] = None
            report = getattr(log, _LOGGED[alert.severity])
            report("alert", name=alert.name, alert=alert.id, severity=alert.severity, text=alert.text)
            self._metrics.alerts.labels(alert.severity).inc()
            if self._targets and severity_at_least(alert.severity, self._settings.least):
                new.append(alert)
        while len(known) > _MOST_REMEMBERED:
            del known[next(iter(known))]
        return new

    async def _deliver(self, digest: Digest, leader: Leadership) -> bool:
        """To every target, again and again; False where we are to stop before all have it."""
        left, pause_s = list(self._targets), _FIRST_PAUSE_S
        until = time.monotonic() + self._settings.give_up_hours * 3600
        while left:
            left = [target for target in left if not await self._attempt(target, digest)]
            if left and time.monotonic() > until:
                await self._give_up(left, digest)
                return True
            if left:
                await self._wait(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                if self._stop.is_set():
                    return False
                await leader.check()
        return True

    async def _attempt(self, target: Target, digest: Digest) -> bool:
        try:
            await target.deliver(digest)
        except NotDeliveredError as error:
            self._metrics.deliveries.labels(target.name, "failed").inc()
            log.warning("not_delivered", target=target.name, digest=digest.id, error=str(error))
            return False
        self._metrics.deliveries.labels(target.name, "delivered").inc()
        log.info("delivered", target=target.name, digest=digest.id, alerts=len(digest.alerts))
        await self._record(target, digest, "delivered")
        return True

    async def _give_up(self, left: Sequence[Target], digest: Digest) -> None:
        for target in left:
            self._metrics.deliveries.labels(target.name, "given-up").inc()
            log.critical("delivery_given_up", target=target.name, digest=digest.id, alerts=len(digest.alerts))
            await self._record(target, digest, "given-up")

    async def _record(self, target: Target, digest: Digest, outcome: str) -> None:
        data = {
            "target": target.name,
            "outcome": outcome,
            "digest": digest.id,
            "count": len(digest.alerts),
            "alerts": [alert.id for alert in digest.listed],
        }
        event: dict[str, Any] = {
            "specversion": "1.0",
            "id": f"reporter:delivery:{target.name}:{digest.id}:{outcome}",
            "source": SOURCE,
            "type": "delivery",
            "time": datetime.fromtimestamp(self._clock() / 1_000_000, UTC).isoformat(),
            "datacontenttype": "application/json",
            "data": data,
        }
        await self._on_kafka(self._feed.record, msgspec.json.encode(event))

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return

    async def _on_kafka(self, call: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(call, *arguments))
