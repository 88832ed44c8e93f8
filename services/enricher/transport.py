"""Faust at Kafka's speed: a transport that hands an agent one message for each fetched batch of a partition.

Faust pays per message; here a message is a `Batch` of up to a thousand records. What Faust must then not do itself:
its gap logic and its acknowledgements never see the batched topics. Only `Ledger` says what may be committed, and
only an agent that has seen the broker's ack completes a range in it.

`prev` (what was fetched before) travels with every batch. A crash or a bug that skips a range shows downstream as
`prev` behind the head of the chain, never as a lawful hole.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, cast

import aiokafka
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import CommitFailedError, IllegalStateError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage, Message
from mode.utils.futures import notify

from services.common.errors import FatalError
from services.common.logging import get_logger
from services.enricher.ledger import Ledger, Range
from services.enricher.poll_size import PollSize, weights_of
from services.enricher.records import install as install_reader

log = get_logger(__name__)
_REVOCATION_S = 5.0


class Batch(NamedTuple):
    """Records of one partition in order. `prev` is the offset fetched before the first of them (-1 none); `reset`
    says that the position was not a committed one, so that offsets before the first may have expired."""

    topic: str
    topic_id: bytes
    partition: int
    prev: int
    reset: bool
    records: list[Any]
    range: Range


class Cursor(NamedTuple):
    """Where a partition is read on: the next offset, the one fetched before it (-1 none), and whether offsets between
    may have expired."""

    next: int
    prev: int
    reset: bool


def start_of(committed: int | None, earliest: int, end: int) -> Cursor:
    """Where to begin: at the group's committed offset; at the earliest where there is none or where it does not exist
    in the log (`earliest` to `end`)."""
    if committed is None:
        return Cursor(earliest, -1, reset=True)
    if committed > end:
        return Cursor(earliest, earliest - 1, reset=True)
    return Cursor(max(committed, earliest), committed - 1, reset=committed < earliest)


class BatchLimits(NamedTuple):
    """Where a batch ends: number of events, bytes of keys and values."""

    events: int
    bytes: int


class BatchConsumer(driver.Consumer):
    """Faust's consumer, with the records of the app's `batched_topics` handed on in batches."""

    logger = logging.getLogger("faust.consumer")
    app: Any  # a BatchApp
    _thread: BatchConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ledger = Ledger()
        self._cursor: dict[TP, Cursor] = {}
        self._epoch: dict[TP, int] = {}

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _batched(self, tp: TP) -> bool:
        return tp.topic in self.app.batched_topics

    # -- fetching

    def on_buffer_full(self, tp: TP) -> None:
        """Nothing: the full queue itself holds the fetcher up. Faust would take the partition out of the active ones,
        and sleep for a whole second once none is left (measured: two thirds of the throughput)."""
        if not self._batched(tp):
            super().on_buffer_full(tp)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> dict[TP, list[Any]]:  # noqa: ASYNC109 - Faust's
        epochs = dict(self._epoch)
        fetched = await super()._getmany(active_partitions, timeout)
        handed: dict[TP, list[Any]] = {}
        for tp, records in fetched.items():
            if not self._batched(tp):
                handed[tp] = records
            elif records:
                handed[tp] = await self._to_batches(tp, records, epochs.get(tp, 0))
        return handed

    async def _to_batches(self, tp: TP, records: list[Any], epoch: int) -> list[Batch]:
        """The batches of what was fetched in `epoch`. Nothing where the partition was revoked or sought meanwhile, and
        nothing before its cursor stands: what is dropped here is fetched again, from where `_find_start` seeks to."""
        cursor = self._cursor.get(tp)
        if cursor is None:
            await self._find_start(tp)
            return []
        topic_id = await self.app.ids.id_of(tp.topic)
        first = records[0].offset
        if first < cursor.next:
            raise FatalError(f"{tp.topic}/{tp.partition} went back from offset {cursor.next} to {first}")
        reset = cursor.reset or (first > cursor.next and (await self.earliest_offsets(tp))[tp] > cursor.next)
        if self._epoch.get(tp, 0) != epoch:
            return []
        self._cursor[tp] = Cursor(records[-1].offset + 1, records[-1].offset, reset=False)
        prev, now, batches = cursor.prev, time.monotonic(), []
        for part in split(records, self.app.batch_limits):
            registered = self.ledger.register(tp, part[0].offset, part[-1].offset, now)
            batches.append(Batch(tp.topic, topic_id, tp.partition, prev, reset, part, registered))
            prev, reset = part[-1].offset, False
        return batches

    async def _find_start(self, tp: TP) -> None:
        """Seeks to where a partition begins, so that its first record and `prev` are of the same position, whatever
        was fetched before. The topic's id is read anew: it may be a new topic that brought the partition here."""
        epoch = self._epoch.get(tp, 0)
        topic_id = await self.app.ids.id_of(tp.topic, age_s=0)
        committed, committed_id = await self._thread.committed(tp)
        if committed_id not in ("", topic_id.hex()):
            log.warning("topic_made_anew", topic=tp.topic, partition=tp.partition, committed=committed)
            committed = None
        earliest, end = (await self.earliest_offsets(tp))[tp], (await self.highwaters(tp))[tp]
        cursor = start_of(committed, earliest, end)
        if self._epoch.get(tp, 0) != epoch or not await self._thread.seek_to(tp, cursor.next):
            return
        if self._epoch.get(tp, 0) == epoch:
            self._cursor[tp] = cursor
            self._read_offset[tp] = None  # else Faust drops what lies before the committed offset
            self._committed_offset[tp] = None

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        if not isinstance(record, Batch):
            return super()._to_message(tp, record)
        return ConsumerMessage(
            record.topic,
            record.partition,
            record.range.first,
            record.records[0].timestamp / 1000.0,
            record.records[0].timestamp_type,
            [],
            None,
            cast("bytes", record),
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    # -- committing: the ledger decides, Faust's own bookkeeping is left out

    def ack(self, message: Message) -> bool:
        if not self._batched(message.tp):
            return super().ack(message)
        message.acked = True
        self._unacked_messages.discard(message)
        notify(self._waiting_for_ack)
        return False

    def complete(self, batch: Batch) -> None:
        """What the batch led to is durable: its offsets may be committed."""
        self.ledger.complete(batch.range)

    def holds(self, batch: Batch) -> bool:
        """Whether the batch is still ours: neither revoked nor sought away from since it was fetched."""
        return self.ledger.holds(TP(batch.topic, batch.partition), batch.range)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        if not self._batched(tp):
            await super()._add_gap(tp, offset_from, offset_to)

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        yield from super()._filter_tps_with_pending_acks(topics)
        yield from cast("list[TP]", self.ledger.partitions())

    def _new_offset(self, tp: TP) -> int | None:
        return self.ledger.position(tp) if self._batched(tp) else super()._new_offset(tp)

    # -- progress, for the watch

    def progress(self) -> tuple[int, int]:
        """Changes whenever something is fetched, assigned, revoked or sought."""
        return sum(cursor.next for cursor in self._cursor.values()), sum(self._epoch.values())

    def unpolled(self, limit_s: float) -> list[TP]:
        """Assigned partitions of which the broker has told nothing for `limit_s` seconds, not even that all is read."""
        before_ms = (time.time() - limit_s) * 1000
        return [
            tp
            for tp in self.assignment()
            if self._batched(tp) and (self._thread.polled_ms(tp) or 0) < before_ms
        ]

    # -- every revocation and every seek starts anew

    def _start_anew(self, partitions: Iterable[TP]) -> None:
        for tp in list(partitions):
            self._epoch[tp] = self._epoch.get(tp, 0) + 1
            self._cursor.pop(tp, None)
            self.ledger.forget([tp])

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        if self.app.before_revocation is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.app.before_revocation(), _REVOCATION_S)
        await self.commit()  # what is done is committed while the partitions are still ours
        self._start_anew(revoked)
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self._start_anew({*assigned, *self._cursor})
        await super().on_partitions_assigned(assigned, generation_id)
        self.app.joined.set()

    async def seek_to_committed(self) -> Mapping[TP, int]:
        self._start_anew(self.assignment())
        return await super().seek_to_committed()

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        self._start_anew(partitions)
        await super().seek_wait(partitions)

    async def _seek(self, partition: TP, offset: int) -> None:
        self._start_anew([partition])
        await super()._seek(partition, offset)


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread in which aiokafka runs: read_committed, bounded fetches, commits that name the topic id."""

    logger = logging.getLogger("faust.consumer")
    app: Any  # a BatchApp
    _poll_size: PollSize

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        install_reader(self.app.batched_topics)
        self._poll_size = PollSize(conf.broker_max_poll_records, self.app.fetch_bytes // 2)
        self._assignor = self.app.assignor if self.app.tables.changelog_topics else RangePartitionAssignor
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            bootstrap_servers=driver.server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_poll_records=conf.broker_max_poll_records,
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_max_bytes=self.app.fetch_bytes,
            fetch_max_wait_ms=500,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            check_crcs=conf.broker_check_crcs,
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
            **driver.credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context),
        )

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: Any,
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's
        max_records: int | None = None,
    ) -> dict[TP, list[Any]]:
        del max_records
        fetched = await super()._fetch_records(
            consumer, active_partitions, timeout=timeout, max_records=self._poll_size.records
        )
        self._poll_size.note([record for records in fetched.values() for record in records])
        return cast("dict[TP, list[Any]]", fetched)

    def polled_ms(self, tp: TP) -> int | None:
        """When the broker last answered a fetch of the partition, in milliseconds since 1970."""
        return cast("int | None", self._ensure_consumer().last_poll_timestamp(driver.ensure_aiokafka_TP(tp)))

    async def committed(self, tp: TP) -> tuple[int | None, str]:
        """The group's committed offset, None if there is none, and the topic id (hex) that was committed with it."""
        return cast("tuple[int | None, str]", await self.call_thread(self._committed, tp))

    async def _committed(self, tp: TP) -> tuple[int | None, str]:
        coordinator = self._ensure_consumer()._coordinator  # noqa: SLF001 - committed() leaves the metadata out
        found = (await coordinator.fetch_committed_offsets([driver.ensure_aiokafka_TP(tp)])).get(tp)
        return (None, "") if found is None or found.offset < 0 else (found.offset, found.metadata or "")

    async def seek_to(self, tp: TP, offset: int) -> bool:
        """Moves the position; False if the partition is no longer ours."""
        return cast("bool", await self.call_thread(self._seek_to, tp, offset))

    async def _seek_to(self, tp: TP, offset: int) -> bool:
        try:
            self._ensure_consumer().seek(driver.ensure_aiokafka_TP(tp), offset)
        except IllegalStateError:
            return False
        return True

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        consumer = self._ensure_consumer()
        ours = {tp: offset for tp, offset in offsets.items() if tp in self.assignment()}
        self.tp_last_committed_at.update(dict.fromkeys(ours, time.monotonic()))
        named = {
            driver.ensure_aiokafka_TP(tp): OffsetAndMetadata(offset, self.app.ids.known(tp.topic).hex())
            for tp, offset in ours.items()
        }
        try:
            await consumer.commit(named)
        except (CommitFailedError, IllegalStateError) as error:
            # The group has rebalanced: whoever owns the partitions now reads from the last commit again, and the
            # writer drops what it knows.
            log.warning("commit_refused", error=str(error))
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is, the process must not go on
            await self.crash(error)
            return False
        return True


class BatchTransport(driver.Transport):
    """Faust's transport with the consumer above."""

    Consumer = BatchConsumer


def split(records: list[Any], limits: BatchLimits) -> list[list[Any]]:
    """The records in parts of at most `limits.events` events and, but for single larger ones, `limits.bytes`."""
    parts = [records[start : start + limits.events] for start in range(0, len(records), limits.events)]
    return [piece for part in parts for piece in _split_by_bytes(part, limits.bytes)]


def _split_by_bytes(part: list[Any], most: int) -> list[list[Any]]:
    weights = weights_of(part)
    if sum(weights) <= most:
        return [part]
    pieces: list[list[Any]] = [[]]
    size = 0
    for record, weight in zip(part, weights, strict=True):
        if pieces[-1] and size + weight > most:
            pieces.append([])
            size = 0
        pieces[-1].append(record)
        size += weight
    return pieces
