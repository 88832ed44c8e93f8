"""The writer's loop: poll, link, append. While one batch is appended, the next is polled and linked.

What is durable when: a batch's records, payloads and the heads with their read positions commit in one transaction;
alerts that it gives rise to are acknowledged before; Kafka's committed offsets follow after, for show. A crash anywhere
leaves heads that say where to go on. After any failure everything in memory is thrown away and read anew from them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from kafka.errors import KafkaError

from services.common.announcer import Announcer
from services.common.clock import Clock, system_clock
from services.common.errors import TransientError
from services.common.logging import get_logger
from services.common.settings import KafkaSettings
from services.writer.anchors import Anchors
from services.writer.batch import Linked
from services.writer.buffer import Buffer
from services.writer.consumer import Consumer, Messages, TopicPartition
from services.writer.metrics import Metrics
from services.writer.partition import Partition
from services.writer.settings import WriterSettings
from services.writer.store import Store
from services.writer.takeover import take_over

log = get_logger(__name__)
TOPIC_CHECK_S = 2.0
MONTHS_CHECK_S = 3600.0
_IDLE_WAIT_S = 0.2
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 10.0
_LINK_AT_ONCE = 250
"""Messages linked before the other tasks get their turn, above all the one that appends."""

Result = TypeVar("Result")
Stored = dict[TopicPartition, tuple[Partition, Linked]]


class Writer:
    """Runs once, by `run`."""

    def __init__(
        self,
        kafka: KafkaSettings,
        settings: WriterSettings,
        store: Store,
        metrics: Metrics,
        clock: Clock = system_clock,
    ) -> None:
        self._kafka = kafka
        self._settings = settings
        self._store = store
        self._anchors = Anchors(store)
        self._metrics = metrics
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "kafka")
        self._partitions: dict[TopicPartition, Partition] = {}
        self._waiting: set[TopicPartition] = set()
        self._buffer = Buffer(settings.batch_records, settings.batch_bytes, settings.batch_age_ms / 1000)
        self._appending: asyncio.Task[Stored] | None = None
        self._consumer: Consumer
        self._announcer: Announcer
        self._clients: list[Consumer | Announcer] = []
        self._cluster_id = ""
        self._next_check = self._next_months = 0.0
        self._pause_s = _FIRST_PAUSE_S
        self._trouble: str | None = "starting"
        self._turned = time.monotonic()

    def not_ready(self) -> str | None:
        """What keeps it from recording, None if nothing does."""
        if self._trouble is not None:
            return self._trouble
        return f"{len(self._waiting)} partitions are not taken over yet" if self._waiting else None

    def not_alive(self) -> str | None:
        """Whether the loop has stopped turning."""
        still = time.monotonic() - self._turned
        patience = 2 * self._settings.statement_timeout_s + 60
        return f"no progress for {still:.0f} s" if still > patience else None

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set. Raises FatalError where going on could lose something."""
        self._stop = stop
        try:
            await self._connect()
            while not stop.is_set():
                try:
                    await self._step()
                except TransientError as error:
                    await self._start_anew(error)
            await self._finish()
        finally:
            await self._disconnect()

    async def _step(self) -> None:
        """Polls once; what is due is linked and handed on to be appended."""
        if self._buffer.room == 0 and self._appending is not None:
            await self._settle()
        wait_s = self._buffer.wait_s(time.monotonic())
        wait_ms = int(1000 * (_IDLE_WAIT_S if wait_s is None else min(wait_s, _IDLE_WAIT_S)))
        polled = await self._on_kafka(self._consumer.poll, wait_ms, max(self._buffer.room, 1))
        self._forget(polled.moved)
        await self._now_and_then()
        self._waiting = polled.assignment - set(self._partitions)
        if self._waiting:
            await self._take_over()
        ours: Messages = {at: some for at, some in polled.messages.items() if at in self._partitions}
        self._buffer.add(ours, time.monotonic())
        if self._appending is not None and self._appending.done():
            await self._settle()
        if self._buffer.is_due(time.monotonic()):
            await self._turn()
        self._turned = time.monotonic()

    async def _turn(self) -> None:
        """Links everything buffered, waits for the batch before, and begins to append."""
        stored: Stored = {}
        for at, messages in self._buffer.take().items():
            partition = self._partitions[at]
            stored[at] = (partition, await self._link(partition, messages))
        if any(linked.opens or linked.dropped for _, linked in stored.values()):
            stored = await self._without_changed_topics(stored)
        await self._settle()
        # Nothing of this batch is durable yet. If it fails from here on, `_start_anew` reads the heads.
        self._appending = asyncio.create_task(self._append(stored))
        if any(linked.opens for _, linked in stored.values()):
            await self._settle()  # the next batch needs the new chains' numbers

    async def _link(self, partition: Partition, messages: list[Any]) -> Linked:
        linker, items = partition.linker, []
        for start in range(0, len(messages), _LINK_AT_ONCE):
            items += partition.items(messages[start : start + _LINK_AT_ONCE])
            await asyncio.sleep(0)
        passed, identities = linker.to_look_up(items)
        since_us = self._clock() - self._settings.duplicate_window_hours * 3_600_000_000
        number = None if linker.chain is None else linker.chain.number
        found = await self._store.look_up(number, partition.numbers, passed, identities, since_us)
        anchor = await self._anchors.body() if linker.wants_anchor else None
        linked = linker.begin(found, anchor)
        for start in range(0, len(items), _LINK_AT_ONCE):
            linker.take(items[start : start + _LINK_AT_ONCE])
            await asyncio.sleep(0)
        return linked

    async def _append(self, stored: Stored) -> Stored:
        alerts = [alert for _, linked in stored.values() for alert in linked.alerts]
        if alerts:
            await asyncio.to_thread(self._announcer.say, alerts)
        # The alerts are durable. A crash here says them again, with the same ids.
        with self._metrics.commit_seconds.time():
            await self._store.append(
                [(partition.linker.place, linked) for partition, linked in stored.values()]
            )
        # Records, payloads and heads are durable. A crash here leaves Kafka's committed offsets behind: harmless.
        return stored

    async def _settle(self) -> None:
        """Waits for the batch that is being appended, and counts it. Raises what made it fail."""
        if self._appending is None:
            return
        task, self._appending = self._appending, None
        stored = await task
        self._pause_s = _FIRST_PAUSE_S
        self._metrics.batches.inc()
        for partition, linked in stored.values():
            partition.note_stored(linked)
            for section in linked.sections:
                self._metrics.count_records(section.kinds)
                self._metrics.head.labels(str(section.chain.number)).set(section.chain.next_seq)
            for reason, count in linked.dropped.items():
                self._metrics.dropped.labels(reason).inc(count)
        positions = {at: linked.next_read_offset for at, (_, linked) in stored.items()}
        lags = await self._on_kafka(self._consumer.commit, positions)
        for at, lag in lags.items():
            self._metrics.lag.labels(at.topic, str(at.partition)).set(lag)

    async def _take_over(self) -> None:
        await self._settle()  # what is under way moves the heads that are read now
        taken = await take_over(
            self._waiting, self._kafka.topics, self._cluster_id, self._consumer, self._store, self._on_kafka
        )
        self._partitions |= taken
        self._waiting -= set(taken)
        self._metrics.partitions.set(len(self._partitions))

    def _forget(self, moved: set[TopicPartition]) -> None:
        """Partitions that have come, gone, or changed: what is held for them is void, and they are taken over anew if
        they are ours. A batch of theirs that is being appended goes on: the epoch says whether it still may."""
        for at in moved:
            self._partitions.pop(at, None)
            self._buffer.drop(at)

    async def _now_and_then(self) -> None:
        now = time.monotonic()
        if now >= self._next_check:
            self._next_check = now + TOPIC_CHECK_S
            await self._check_topics()
            self._trouble = (
                None if self._consumer.joined else "the group has not given out its partitions yet"
            )
        if now >= self._next_months:
            self._next_months = now + MONTHS_CHECK_S
            made = await self._store.open_months()
            log.info("payload_months_opened", partitions=made, dropped=await self._store.drop_retained())

    async def _check_topics(self) -> set[TopicPartition]:
        """Partitions whose topic was deleted or created anew since they were taken over; they are taken over anew."""
        ids = await self._on_kafka(self._consumer.topic_ids)
        changed = {
            at
            for at, partition in self._partitions.items()
            if ids.get(at.topic) != partition.linker.read_topic_id
        }
        if changed:
            log.warning("topics_changed", topics=sorted({at.topic for at in changed}))
            await self._on_kafka(self._consumer.pause, changed)
            self._forget(changed)
        return changed

    async def _without_changed_topics(self, stored: Stored) -> Stored:
        """What is out of the ordinary is believed only if the topic that was read is still the same: else positions
        of the old one may have been applied to the new one, which is read anew from its beginning."""
        changed = await self._check_topics()
        return {at: pair for at, pair in stored.items() if at not in changed}

    async def _start_anew(self, error: TransientError) -> None:
        """Drops everything in memory, waits, connects again. Stays in the group meanwhile and reads nothing."""
        log.warning("held", error=str(error), kind=type(error).__name__, pause_s=self._pause_s)
        self._trouble = str(error)
        self._metrics.failures.labels(type(error).__name__).inc()
        self._partitions.clear()
        self._buffer.clear()
        if self._appending is not None:
            task, self._appending = self._appending, None
            await asyncio.gather(task, return_exceptions=True)
        await self._hold()
        await self._patiently(self._store.open)
        self._next_check = self._next_months = 0.0

    async def _hold(self) -> None:
        """One pause, longer each time, in which the group still hears of us."""
        until = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        while time.monotonic() < until and not self._stop.is_set():
            try:
                held = await self._on_kafka(self._consumer.assignment)
                await self._on_kafka(self._consumer.pause, held)
                await self._on_kafka(self._consumer.poll, 100, 1)
            except TransientError as error:
                log.warning("kafka_away", error=str(error))
            await asyncio.sleep(0.05)
            self._turned = time.monotonic()

    async def _patiently(self, attempt: Callable[[], Awaitable[None]]) -> None:
        """Tries until it works or we are to stop."""
        pause_s = _FIRST_PAUSE_S
        while not self._stop.is_set():
            try:
                await attempt()
            except TransientError as error:
                self._trouble = str(error)
                log.warning("awaited", error=str(error))
                await self._wait(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                return

    async def _connect(self) -> None:
        await self._patiently(self._store.open)
        await self._patiently(self._look_at_rights)
        await self._patiently(self._connect_kafka)

    async def _look_at_rights(self) -> None:
        """A writer that could change what it recorded is worth a warning, and no reason to lose events."""
        might = await self._store.might()
        self._metrics.mighty.set(bool(might))
        if might:
            log.warning(
                "role_too_mighty",
                role=might,
                why="whoever gets hold of the writer could change what is recorded",
                todo="sign in as piperoll_writer: set DATABASE_URL",
            )

    async def _connect_kafka(self) -> None:
        if not self._clients:
            self._announcer = await asyncio.to_thread(Announcer, self._kafka, self._metrics.alerts)
            self._clients.append(self._announcer)
        if len(self._clients) == 1:
            self._consumer = await self._on_kafka(Consumer, self._kafka)
            self._clients.append(self._consumer)
        self._cluster_id = await self._on_kafka(self._consumer.cluster_id)

    async def _wait(self, seconds: float) -> None:
        """Sleeps, but not beyond the stop."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    async def _finish(self) -> None:
        """What is being appended is let through; what is only buffered is read again by whoever comes next."""
        try:
            await self._settle()
        except TransientError as error:
            log.warning("last_batch_given_up", error=str(error))

    async def _disconnect(self) -> None:
        if self._appending is not None:
            self._appending.cancel()
            await asyncio.gather(self._appending, return_exceptions=True)
        await self._store.close()
        for client in self._clients:
            await self._on_kafka(_close_quietly, client)
        self._thread.shutdown(wait=False)

    async def _on_kafka(self, call: Callable[..., Result], *arguments: Any) -> Result:
        """Calls on the consumer's thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(call, *arguments))


def _close_quietly(client: Consumer | Announcer) -> None:
    """Closing is a courtesy to the group: its failure changes nothing."""
    try:
        client.close()
    except (KafkaError, TransientError, OSError) as error:
        log.warning("close_failed", error=repr(error))
