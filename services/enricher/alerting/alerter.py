"""The alerter's loop: counts in, alerts out, state kept.

Commit points, in order. (1) The alerts that a batch leads to are acknowledged on audit.system. A crash here says them
again under the same ids, and the writer drops the repeats. (2) They are acknowledged on audit.alerts. A crash here leads
to them again, since the state does not know them; whoever takes over has read which stand there, and leaves them out.
(3) The state is acknowledged on its changelog. A crash here reads the batch again, and the state knows its offsets.
(4) The batch is complete.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, TypeVar

from aiokafka import AIOKafkaProducer

from schemas.topics import OWN_SOURCE_PREFIX, Topics
from services.common.alerts import Alert, as_message, as_own_event
from services.common.clock import Clock
from services.common.errors import FatalError, TransientError
from services.common.logging import get_logger
from services.enricher.alerting.ai_feed import AiFeed
from services.enricher.alerting.ai_use import AiUse
from services.enricher.alerting.declarations import Declarations
from services.enricher.alerting.horizon import Horizon
from services.enricher.alerting.judge import Judge
from services.enricher.alerting.metrics import AlerterMetrics
from services.enricher.alerting.table import StateTable
from services.enricher.counts import Counts, read_counts
from services.enricher.transport import Batch

log = get_logger(__name__)
SOURCE = f"{OWN_SOURCE_PREFIX}alerter"
_PAUSE_S = 1.0
Result = TypeVar("Result")


class Alerter:
    """Takes batches one after another; between them it looks at the time."""

    def __init__(
        self,
        judge: Judge,
        table: StateTable,
        producer: AIOKafkaProducer,
        topics: Topics,
        metrics: AlerterMetrics,
        declarations: Declarations,
        horizon: Horizon,
        ai_use: AiUse,
        ai_feed: AiFeed,
        *,
        read_said: Callable[[], set[str]],
        owned_since: Callable[[], int],
        holds: Callable[[Batch], bool],
        complete: Callable[[Batch], None],
        clock: Clock,
        ack_timeout_s: float,
    ) -> None:
        self._judge = judge
        self._table = table
        self._producer = producer
        self._topics = topics
        self._metrics = metrics
        self._declarations = declarations
        self._horizon = horizon
        self._ai_use = ai_use
        self._ai_feed = ai_feed
        self._read_said = read_said
        self._owned_since = owned_since
        self._said: tuple[int, set[str]] = (-1, set())
        self._holds = holds
        self._complete = complete
        self._clock = clock
        self._ack_timeout_s = ack_timeout_s
        self._lock = asyncio.Lock()
        self._next = 0

    async def take(self, batch: Batch, done: Callable[[], Any]) -> None:
        """Raises FatalError or KafkaError where alerts or state are not durable: then the process must end."""
        async with self._lock:
            if not self._holds(batch):
                return  # revoked meanwhile: whoever has the partition now reads it again
            counts = self._read(batch)
            declared = await self._declared({name for one in counts for name in one.backfills})
            alerts = [alert for one in counts for alert in self._judge.take(one, declared)]
            await self._keep(alerts)
            self._next = batch.range.last + 1
            self._complete(batch)
        done()

    async def look(self) -> None:
        """Says what time alone leads to. Raises as `take`."""
        async with self._lock:
            seen_until_ms = await asyncio.to_thread(self._horizon.look, self._next)
            self._metrics.horizon.set(seen_until_ms / 1000)
            self._metrics.entries.set(len(self._table))
            # Read before judging: what is judged is noted as said, and a failure here must not swallow it.
            seen, next_offset = await asyncio.to_thread(self._ai_feed.read, self._ai_use.cursor())
            alerts = self._judge.look(self._clock() // 1000, seen_until_ms)
            alerts += self._ai_use.take(seen, next_offset, self._clock() // 1000)
            await self._keep(alerts)

    async def settle(self) -> None:
        """Waits for what is under way."""
        async with self._lock:
            pass

    def close(self) -> None:
        """Closes the connections that are its own."""
        self._horizon.close()
        self._ai_feed.close()
        self._declarations.close()

    def _read(self, batch: Batch) -> list[Counts]:
        found = []
        for record in batch.records:
            try:
                found.append(read_counts(record.value or b""))
            except ValueError as error:
                self._metrics.unreadable.inc()
                log.error("counts_unreadable", offset=record.offset, error=str(error))  # noqa: TRY400 - no fault of ours
        self._metrics.counts.inc(len(batch.records))
        return found

    async def _declared(self, names: Collection[str]) -> Collection[str]:
        return await self._patiently(partial(self._declarations.of, names)) if names else ()

    async def _patiently(self, read: Callable[[], Result]) -> Result:
        """Waits for the broker as long as it takes: without an answer nobody knows how to go on."""
        while True:
            try:
                return await asyncio.to_thread(read)
            except TransientError as error:
                log.warning("held", why=str(error))
                await asyncio.sleep(_PAUSE_S)

    async def _keep(self, alerts: Sequence[Alert]) -> None:
        """Says the alerts, then keeps the state that knows of them."""
        if alerts:
            await self._say(alerts)
        await self._table.flush(self._producer, self._ack_timeout_s)

    async def _say(self, alerts: Sequence[Alert]) -> None:
        known = await self._said_before()
        new, now_us = [alert for alert in alerts if alert.id not in known], self._clock()
        for alert in new:
            log.warning(alert.name, alert=alert.id, severity=alert.severity, text=alert.text)
        await self._send(self._topics.system, [as_own_event(alert, SOURCE, now_us) for alert in new])
        await self._send(self._topics.alerts, [as_message(alert, SOURCE, now_us) for alert in new])
        for alert in new:
            self._metrics.alerts.labels(alert.name).inc()

    async def _said_before(self) -> set[str]:
        """The alerts that whoever had the counts before us has said."""
        owned_since, known = self._said
        while owned_since != self._owned_since():
            owned_since = self._owned_since()
            known = await self._patiently(self._read_said)
            self._said = (owned_since, known)
        return known

    async def _send(self, topic: str, values: Sequence[bytes]) -> None:
        async def send() -> None:
            sent = [await self._producer.send(topic, value, partition=0) for value in values]
            await asyncio.gather(*sent)

        try:
            await asyncio.wait_for(send(), self._ack_timeout_s)
        except TimeoutError:
            raise FatalError(f"no ack from Kafka for {self._ack_timeout_s:g} s") from None
