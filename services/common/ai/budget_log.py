"""The budget's log on Kafka: the topic audit.ai-budget, one partition, which every process that asks a model reads.

Commit points. A reservation is acknowledged by all replicas before anything is asked; it counts from there on, whoever
crashes. What a process decides it decides from the log alone, read up to its own entry, so all decide alike. Blocking
calls run in a thread, one at a time.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from threading import Lock
from typing import Any

import msgspec
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from services.common.ai.account import Account, Entry, Granted, Refused, Reserve, Snapshot
from services.common.errors import FatalError, TransientError
from services.common.kafka_client import client_options
from services.common.logging import get_logger
from services.common.settings import KafkaSettings

log = get_logger(__name__)
SNAPSHOT_EVERY = 1000
_PATIENCE_S = 60.0
_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(Entry).decode


class KafkaBudgetLog:
    """Made blocking; close it after use. Raises TransientError where no broker answers."""

    def __init__(self, kafka: KafkaSettings, client_id: str = "piperoll-ai-budget") -> None:
        self.account = Account()
        self._place = TopicPartition(kafka.topics.ai_budget, 0)
        self._lock = Lock()
        self._since_snapshot = 0
        options = client_options(kafka, client_id)
        try:
            self._producer = KafkaProducer(**options, acks="all", enable_idempotence=True)
            self._consumer = KafkaConsumer(
                **options, group_id=None, enable_auto_commit=False, isolation_level="read_committed"
            )
            self._consumer.assign([self._place])
            self._next = self._start()
        except KafkaError as error:
            raise TransientError(f"the AI budget cannot be read: {error!r}") from error

    async def append(self, entry: Entry) -> None:
        """Durable on return. Raises TransientError."""
        await asyncio.to_thread(self._locked, self._append, entry)

    async def decide(self, entry: Reserve) -> Granted | Refused:
        """Appends, reads up to there, and says what the account made of it. Raises TransientError, FatalError."""
        decision: Granted | Refused = await asyncio.to_thread(self._locked, self._decide, entry)
        return decision

    async def catch_up(self) -> Account:
        """The account as of now."""
        await asyncio.to_thread(self._locked, self._catch_up)
        return self.account

    def close(self) -> None:
        """Closes the clients."""
        with self._lock, suppress(KafkaError):
            self._producer.close(timeout=5)
            self._consumer.close()

    def _locked(self, call: Any, *arguments: Any) -> Any:
        with self._lock:
            try:
                return call(*arguments)
            except KafkaError as error:
                raise TransientError(f"the AI budget cannot be kept: {error!r}") from error

    def _append(self, entry: Entry) -> int:
        sent = self._producer.send(self._place.topic, value=_encode(entry), partition=0)
        self._producer.flush(timeout=_PATIENCE_S)
        offset: int = sent.get(timeout=_PATIENCE_S).offset
        return offset

    def _decide(self, entry: Reserve) -> Granted | Refused:
        offset = self._append(entry)
        decision = self._read(offset)
        if self._since_snapshot >= SNAPSHOT_EVERY:
            self._since_snapshot = 0
            self._append(self.account.snapshot(self._next - 1))
        if decision is None:
            raise FatalError(
                f"the AI budget's entry at offset {offset} is not there: was the topic made anew?"
            )
        return decision

    def _catch_up(self) -> None:
        end: int = self._consumer.end_offsets([self._place])[self._place]
        if end > self._next:
            self._read(end - 1)

    def _read(self, upto: int) -> Granted | Refused | None:
        """Applies the log up to an offset; what was decided there."""
        deadline, decision = time.monotonic() + _PATIENCE_S, None
        while self._next <= upto:
            if time.monotonic() > deadline:
                raise TransientError(f"the AI budget was not read up to offset {upto} in {_PATIENCE_S:g} s")
            for record in self._consumer.poll(timeout_ms=1000).get(self._place, ()):
                found = self._apply(record)
                self._next = record.offset + 1
                if record.offset == upto:
                    decision = found
            if self._consumer.position(self._place) > upto:  # the last offset may hold no record
                self._next = max(self._next, upto + 1)
        return decision

    def _apply(self, record: Any) -> Granted | Refused | None:
        try:
            entry = _decode(record.value)
        except (msgspec.MsgspecError, TypeError):
            log.warning("ai_budget_entry_unreadable", offset=record.offset)
            return None
        if isinstance(entry, Snapshot):
            self._since_snapshot = 0
            return None
        self._since_snapshot += 1
        return self.account.apply(entry, max(0, record.timestamp))

    def _start(self) -> int:
        """The offset behind the last snapshot, which is taken over; else the earliest one."""
        first: int = self._consumer.beginning_offsets([self._place])[self._place]
        end: int = self._consumer.end_offsets([self._place])[self._place]
        back = 3 * SNAPSHOT_EVERY
        while True:
            start = max(first, end - back)
            snapshot = self._last_snapshot(start, end)
            if snapshot is not None and snapshot.upto >= first - 1:
                self.account = Account.restored(snapshot)
                start = snapshot.upto + 1
            elif start > first:
                back *= 8
                continue
            self._consumer.seek(self._place, start)
            return start

    def _last_snapshot(self, start: int, end: int) -> Snapshot | None:
        self._consumer.seek(self._place, start)
        found: Snapshot | None = None
        deadline = time.monotonic() + _PATIENCE_S
        while self._consumer.position(self._place) < end:
            if time.monotonic() > deadline:
                raise TransientError("the AI budget was not read in time")
            for record in self._consumer.poll(timeout_ms=1000).get(self._place, ()):
                with suppress(msgspec.MsgspecError, TypeError):
                    entry = _decode(record.value)
                    found = entry if isinstance(entry, Snapshot) else found
        return found
