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
from schemas.enrichment import FLAG_RESET, FLAG_WITHHELD, pack_fixed, told
from schemas.record import ABSENT, NO_TIMESTAMP_TYPE, Kind
from schemas.topics import PIPEROLL_HEADER, Topics, reply_token
from services.common.errors import FatalError
from services.common.logging import get_logger
from services.enricher.counts import Tally
from services.enricher.enrich import Coordinates, Enriched, Enricher, Message
from services.enricher.metrics import Metrics
from services.enricher.transport import Batch

log = get_logger(__name__)
_encode_json = msgspec.json.Encoder().encode
_REPLY_TIMEOUT_S = 5.0
_PART_EVENTS = 50
"""Events that are enriched together: few enough to stay in the processor's caches."""
_POISON = int(Kind.POISON)  # a member of an enumeration costs ten times as much to look up, compare and pack
_NOTHING: tuple[None, None, tuple[()]] = (None, None, ())


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
        """Enriches and hands to the producer, in order; the futures resolve with the broker's acks. A part at a time:
        what an event led to is then still near in the processor's memory when it is counted and written, and is not
        kept."""
        enriched = _Outgoing(self._producer, self._topics.enriched, batch.partition)
        dead = _Outgoing(self._producer, self._topics.dead_letters, batch.partition)
        counted = _Outgoing(self._producer, self._topics.counts, 0)
        tally = Tally(batch.topic_id, batch.partition)
        replies: list[tuple[bytes, bytes]] = []
        prev, flags, poisoned = batch.prev, FLAG_RESET if batch.reset else 0, 0
        for start in range(0, len(batch.records), _PART_EVENTS):
            records = batch.records[start : start + _PART_EVENTS]
            results, headers = self._enrich(batch, records, prev, flags)
            tally.take(records, results, *self._enricher.take_matches())  # before anything is awaited
            for record, result, header in zip(records, results, headers, strict=True):
                came = _NOTHING if result.withheld else (record.key, record.value, record.headers)
                if enriched.add(came[0], came[1], [*came[2], (PIPEROLL_HEADER, header)]):
                    await enriched.send_full()
                if result.kind == _POISON:
                    poisoned += 1
                    if dead.add(came[0], came[1], [*came[2], *_why(batch, record, result)]):
                        await dead.send_full()
                if record.headers and (token := reply_token(record.headers)) is not None:
                    replies.append((token, _reply(token, result)))
            prev, flags = records[-1].offset, 0
        self._metrics.events.labels("poison").inc(poisoned)
        self._metrics.events.labels("event").inc(len(batch.records) - poisoned)
        for counts in tally.messages(time.time_ns() // 1_000_000):
            counted.add(None, counts, [])
        return [*await enriched.flush(), *await dead.flush(), *await counted.flush()], replies

    def _enrich(
        self, batch: Batch, records: list[Any], prev: int, flags: int
    ) -> tuple[list[Enriched], list[bytes]]:
        """The enrichments of records and the headers in which they travel. `flags` are the first one's."""
        random = os.urandom(2 * SALT_BYTES * len(records))
        salts = [random[at : at + SALT_BYTES] for at in range(0, len(random), SALT_BYTES)]
        payload_salts, enrichment_salts = salts[: len(records)], salts[len(records) :]
        topic_id, partition = batch.topic_id, batch.partition
        messages = [
            Message(
                record.key,
                record.value,
                record.headers,
                Coordinates(topic_id, partition, record.offset, _stamp(record.timestamp)),
                salt,
            )
            for record, salt in zip(records, payload_salts, strict=True)
        ]
        results = self._enricher.enrich_all(messages)
        headers = []
        for record, message, result, salt in zip(records, messages, results, enrichment_salts, strict=True):
            headers.append(_header(message, record.timestamp_type, result, prev, flags, salt))
            prev, flags = message.at.offset, 0
        return results, headers

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


def _stamp(timestamp: int | None) -> int:
    """Kafka's timestamp in milliseconds, ABSENT where there is none."""
    return ABSENT if timestamp is None or timestamp < 0 else timestamp


def _header(
    message: Message, timestamp_type: int, result: Enriched, prev: int, flags: int, enrichment_salt: bytes
) -> bytes:
    at, commitment = message.at, ABSENT_HASH
    if result.withheld:
        flags |= FLAG_WITHHELD
        commitment = _commitment(message)
    fixed: bytes = pack_fixed(
        flags,
        result.kind,
        at.topic_id,
        at.partition,
        at.offset,
        prev,
        at.timestamp_ms,
        NO_TIMESTAMP_TYPE if at.timestamp_ms == ABSENT else timestamp_type,
        result.event_time_us,
        result.producer_seq,
        result.producer_id,
        result.event_id,
        result.identity_hash,
        message.payload_salt,
        enrichment_salt,
        commitment,
    )
    return fixed + _encode_json(result.document)


def _commitment(message: Message) -> bytes:
    """Of a message that is over a limit: its headers are left out where they fit no body, as RECORD_FORMAT.md says."""
    headers = message.headers if headers_fit(message.headers) else ()
    return payload_commitment(message.payload_salt, encode_body(message.key, message.value, headers))


def _why(batch: Batch, record: Any, result: Enriched) -> list[tuple[str, bytes]]:
    """The headers by which a dead letter says what is wrong and where it was."""
    origin = f"{batch.topic_id.hex()}/{batch.partition}/{record.offset}".encode()
    return [("piperoll-reason", (result.document.reason or "").encode()), ("piperoll-origin", origin)]


def _reply(token: bytes, result: Enriched) -> bytes:
    document = result.document
    said = {"token": token.decode("utf-8", "replace"), "id": document.id, "pending": document.pending}
    return _encode_json(said | told(document)._asdict())
