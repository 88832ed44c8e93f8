"""What happens to a batch: every record enriched, sent on, acknowledged by the broker, and only then complete.

Commit points, in order. (1) All messages of the batch are acknowledged on audit.enriched, dead letters on
audit.dead-letters, and what was counted on audit.counts: from here on nothing is lost. A crash before it leaves the offsets uncommitted; they are read again,
and the writer drops what it knows. (2) The range is completed in the ledger; Faust commits it within a second. A
crash between the two repeats the batch, with the same outcome.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.commitment import ABSENT_HASH, SALT_BYTES, encode_body, headers_fit, payload_commitment
from schemas.enrichment import FLAG_RESET, FLAG_WITHHELD, pack_header, told
from schemas.record import ABSENT, NO_TIMESTAMP_TYPE, Kind
from schemas.topics import PIPEROLL_HEADER, Topics, reply_token
from services.common.errors import FatalError
from services.common.logging import get_logger
from services.enricher.counts import count
from services.enricher.enrich import Coordinates, Enriched, Enricher
from services.enricher.metrics import Metrics
from services.enricher.transport import Batch

log = get_logger(__name__)
_encode_json = msgspec.json.encode
_REPLY_TIMEOUT_S = 5.0


class Pipeline:
    """Takes batches one after another, keeps up to `in_flight` of them waiting for the broker's ack, and calls
    `fail` on the first error: nothing is sent after it, so no later batch can hide what is missing."""

    def __init__(
        self,
        enricher: Enricher,
        producer: AIOKafkaProducer,
        topics: Topics,
        metrics: Metrics,
        *,
        complete: Callable[[Batch], None],
        fail: Callable[[BaseException], None],
        in_flight: int,
        ack_timeout_s: float,
    ) -> None:
        self._enricher = enricher
        self._producer = producer
        self._topics = topics
        self._metrics = metrics
        self._complete = complete
        self._fail = fail
        self._slots = asyncio.Semaphore(in_flight)
        self._ack_timeout_s = ack_timeout_s
        self._waiting: set[asyncio.Task[None]] = set()
        self._failed = False
        self._closed = False

    async def take(self, batch: Batch, done: Callable[[], Any]) -> None:
        """Sends the batch; `done` is called as the very last thing. Raises FatalError after any earlier failure."""
        await self._slots.acquire()
        if self._closed:
            await asyncio.Event().wait()  # stopping: the batch is read again by whoever comes next
        if self._failed:
            raise FatalError("an earlier batch failed: nothing more is sent")
        try:
            sent, replies = await self._send(batch)
        except BaseException as error:
            self._slots.release()
            self._give_up(error)
            raise
        task = asyncio.create_task(self._finish(batch, sent, replies, done))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def settle(self) -> None:
        """Takes no more batches, and waits until those sent are acknowledged or have failed."""
        self._closed = True
        while self._waiting:
            await asyncio.wait(set(self._waiting))

    async def _finish(
        self,
        batch: Batch,
        sent: list[asyncio.Future[Any]],
        replies: list[tuple[bytes, bytes]],
        done: Callable[[], Any],
    ) -> None:
        try:
            await asyncio.wait_for(asyncio.gather(*sent), self._ack_timeout_s)
            self._complete(batch)
            self._metrics.batches.inc()
            self._metrics.seconds.observe(time.monotonic() - batch.range.since)
            done()
            await self._reply(replies)
        except TimeoutError:
            self._give_up(FatalError(f"no ack from Kafka for {self._ack_timeout_s:g} s"))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the process must not go on
            self._give_up(error)
        finally:
            self._slots.release()

    def _give_up(self, error: BaseException) -> None:
        self._failed = True
        self._fail(error)

    async def _send(self, batch: Batch) -> tuple[list[asyncio.Future[Any]], list[tuple[bytes, bytes]]]:
        """Enriches and hands to the producer, in order; the futures resolve with the broker's acks."""
        enriched = _Outgoing(self._producer, self._topics.enriched, batch.partition)
        dead = _Outgoing(self._producer, self._topics.dead_letters, batch.partition)
        replies: list[tuple[bytes, bytes]] = []
        salts = os.urandom(2 * SALT_BYTES * len(batch.records))
        results: list[Enriched] = []
        prev, flags, poisoned = batch.prev, FLAG_RESET if batch.reset else 0, 0
        for at, record in enumerate(batch.records):
            payload_salt = salts[at * 64 : at * 64 + 32]
            timestamp = ABSENT if record.timestamp is None or record.timestamp < 0 else record.timestamp
            coordinates = Coordinates(batch.topic_id, batch.partition, record.offset, timestamp)
            result = self._enricher.enrich(
                record.key, record.value, record.headers, coordinates, payload_salt
            )
            results.append(result)
            header = _header(
                result, coordinates, record, prev, flags, payload_salt, salts[at * 64 + 32 : at * 64 + 64]
            )
            value = None if result.withheld else record.value
            kept = () if result.withheld else record.headers
            key = None if result.withheld else record.key
            if enriched.add(key, value, [*kept, (PIPEROLL_HEADER, header)]):
                await enriched.send_full()
            if result.kind == Kind.POISON:
                poisoned += 1
                if dead.add(*_dead_letter(result, coordinates, record)):
                    await dead.send_full()
            if record.headers and (token := reply_token(record.headers)) is not None:
                replies.append((token, _reply(token, result)))
            prev, flags = record.offset, 0
        self._metrics.events.labels("poison").inc(poisoned)
        self._metrics.events.labels("event").inc(len(batch.records) - poisoned)
        matches, specs = self._enricher.take_matches()
        counted = _Outgoing(self._producer, self._topics.counts, 0)
        for counts in count(
            batch.topic_id,
            batch.partition,
            batch.records,
            results,
            time.time_ns() // 1_000_000,
            matches,
            specs,
        ):
            counted.add(None, counts, [])
        return [*await enriched.flush(), *await dead.flush(), *await counted.flush()], replies

    async def _reply(self, replies: list[tuple[bytes, bytes]]) -> None:
        """A lost reply costs a caller its 200 (it gets a 202 instead), never an event: so it is only counted. After
        the batch is complete, and for a bounded time: replies must not stand in the way of events."""
        try:
            async with asyncio.timeout(_REPLY_TIMEOUT_S):
                sent = [
                    await self._producer.send(self._topics.replies, reply, key=token)
                    for token, reply in replies
                ]
                await asyncio.gather(*sent)
        except (KafkaError, TimeoutError) as error:
            self._metrics.replies_failed.inc(len(replies))
            log.warning("replies_failed", count=len(replies), error=repr(error))


class _Outgoing:
    """Record batches for one partition, filled in order. `add` says when one is full: then `send_full` is due."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, partition: int) -> None:
        self._producer = producer
        self._topic = topic
        self._partition = partition
        self._builder = producer.create_batch()
        self._full: list[Any] = []
        self._sent: list[asyncio.Future[Any]] = []

    def add(self, key: bytes | None, value: bytes | None, headers: Any) -> bool:
        if self._builder.append(timestamp=None, key=key, value=value, headers=headers) is not None:
            return False
        self._full.append(self._builder)
        self._builder = self._producer.create_batch()
        self._builder.append(timestamp=None, key=key, value=value, headers=headers)
        return True

    async def send_full(self) -> None:
        for builder in self._full:
            self._sent.append(
                await self._producer.send_batch(builder, self._topic, partition=self._partition)
            )
        self._full.clear()

    async def flush(self) -> list[asyncio.Future[Any]]:
        if self._builder.record_count():
            self._full.append(self._builder)
        await self.send_full()
        return self._sent


def _header(
    result: Enriched,
    at: Coordinates,
    record: Any,
    prev: int,
    flags: int,
    payload_salt: bytes,
    enrich_salt: bytes,
) -> bytes:
    commitment = ABSENT_HASH
    if result.withheld:
        flags |= FLAG_WITHHELD
        headers = (
            record.headers if headers_fit(record.headers) else ()
        )  # as RECORD_FORMAT.md says of such messages
        commitment = payload_commitment(payload_salt, encode_body(record.key, record.value, headers))
    return pack_header(
        flags,
        result.kind,
        at.topic_id,
        at.partition,
        at.offset,
        prev,
        at.timestamp_ms,
        NO_TIMESTAMP_TYPE if at.timestamp_ms == ABSENT else record.timestamp_type,
        result.event_time_us,
        result.producer_seq,
        result.producer_id,
        result.event_id,
        result.identity_hash,
        payload_salt,
        enrich_salt,
        commitment,
        _encode_json(result.document),
    )


def _dead_letter(result: Enriched, at: Coordinates, record: Any) -> tuple[bytes | None, bytes | None, Any]:
    reason = (result.document.reason or "").encode()
    origin = f"{at.topic_id.hex()}/{at.partition}/{at.offset}".encode()
    kept = () if result.withheld else record.headers
    headers = [*kept, ("piperoll-reason", reason), ("piperoll-origin", origin)]
    return (None, None, headers) if result.withheld else (record.key, record.value, headers)


def _reply(token: bytes, result: Enriched) -> bytes:
    document = result.document
    said = {"token": token.decode("utf-8", "replace"), "id": document.id, "pending": document.pending}
    return _encode_json(said | told(document)._asdict())
