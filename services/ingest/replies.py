"""Follows audit.replies, so that a request that waits hears what became of its event.

Every instance reads the whole topic from its end, without a group, and takes the tokens it has given out. What is
missed while the broker is away is not lost, only not answered: the request then ends with 202.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Any, Literal

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from schemas.enrichment import Risk
from services.common.errors import TransientError
from services.common.kafka import client_options
from services.common.logging import get_logger
from services.common.settings import KafkaSettings
from services.ingest.worker import Worker

log = get_logger(__name__)

_POLL_MS = 500
_HEARTBEAT_SECONDS = 5.0
_ANSWER_MS = 5000
_RETRY_SECONDS = 1.0
_LOOK_SECONDS = 0.1


class Reply(msgspec.Struct):
    """A message of audit.replies: what is known of an event. `pending`: an AI reading is still to come."""

    token: str
    id: str
    summary: str
    tags: list[str]
    risk: Risk
    by: str
    pending: bool = False


class Waiting:
    """One request that waits. `pending` is the rules' reply, should no better one come."""

    __slots__ = ("final", "pending", "token")

    def __init__(self, final: asyncio.Future[Reply | None]) -> None:
        self.token = secrets.token_hex(16).encode()
        self.final = final
        self.pending: Reply | None = None

    def take(self, reply: Reply | None) -> None:
        """The next reply; None: none will come."""
        if reply is not None and reply.pending:
            self.pending = reply
        elif not self.final.done():
            self.final.set_result(reply)

    async def reply(self, seconds: float) -> tuple[Reply | None, Literal["final", "pending", "none"]]:
        """The first final reply, at the time-out the pending one, and what it is."""
        try:
            async with asyncio.timeout(seconds):
                final = await self.final
        except TimeoutError:
            final = None
        if final is not None:
            return final, "final"
        return self.pending, "none" if self.pending is None else "pending"


class Replies:
    """`trouble` says why no reply can be heard now, None where all is well. Made on the event loop; `on_failure` is
    called there when the thread fails."""

    def __init__(
        self,
        kafka: KafkaSettings,
        max_waiting: int,
        *,
        broker_away: Callable[[], bool],
        on_failure: Callable[[], None],
    ) -> None:
        self.trouble: str | None = "ingest does not follow the replies yet"
        self._topic = kafka.topics.replies
        self._options = client_options(kafka, "piperoll-ingest-replies") | {
            "group_id": None,
            "enable_auto_commit": False,
            "auto_offset_reset": "latest",
            "bootstrap_timeout_ms": _ANSWER_MS,
            "request_timeout_ms": 2 * _ANSWER_MS,
            "reconnect_backoff_max_ms": 1000,
            "allow_auto_create_topics": False,
            "metrics_enabled": False,
        }
        self._max_waiting = max_waiting
        self._broker_away = broker_away
        self._waiting: dict[bytes, Waiting] = {}
        self._loop = asyncio.get_running_loop()
        self._on_failure = on_failure
        self.worker = Worker("replies", self._run, self._fail)
        self._stopping = self.worker.stopping

    def __len__(self) -> int:
        return len(self._waiting)

    def start(self) -> None:
        self.worker.start()

    def expect(self) -> Waiting | None:
        """A place for a reply, to be forgotten after use; None where none could be heard or too many wait."""
        if self.trouble is not None or len(self._waiting) >= self._max_waiting:
            return None
        waiting = Waiting(self._loop.create_future())
        self._waiting[waiting.token] = waiting
        return waiting

    def forget(self, waiting: Waiting) -> None:
        self._waiting.pop(waiting.token, None)

    def release(self) -> None:
        """All that wait now are answered with what is known, and nobody waits from here on."""
        self.trouble = "ingest is stopping"
        self.worker.stopping.set()
        for waiting in self._waiting.values():
            waiting.take(None)

    async def stop(self, seconds: float) -> None:
        self.release()
        await self.worker.stop(seconds)

    def _fail(self) -> None:
        self.trouble = "ingest cannot hear replies any more and ends; the log says why"
        self._loop.call_soon_threadsafe(self._on_failure)

    def _run(self) -> None:
        while not self._stopping.is_set():
            # A KafkaConsumer that finds no broker leaves a thread and four files behind (kafka-python 3.0.12), so it
            # is made only when the producer has found one, and kept through outages.
            if self._broker_away():
                self._stopping.wait(_LOOK_SECONDS)
                continue
            try:
                consumer = KafkaConsumer(**self._options)
                try:
                    self._follow(consumer)
                finally:
                    consumer.close()
            except (KafkaError, OSError, TransientError) as error:
                self._note(error)
                self._stopping.wait(_RETRY_SECONDS)

    def _follow(self, consumer: KafkaConsumer) -> None:
        partitions = self._assign_at_end(consumer)
        self._note(None)
        heartbeat = time.monotonic() + _HEARTBEAT_SECONDS
        while not self._stopping.is_set():
            for messages in consumer.poll(timeout_ms=_POLL_MS).values():
                for message in messages:
                    self._hear(message)
            if time.monotonic() > heartbeat:
                self._look_after(consumer, partitions)
                heartbeat = time.monotonic() + _HEARTBEAT_SECONDS

    def _assign_at_end(self, consumer: KafkaConsumer) -> list[TopicPartition]:
        numbers = consumer.partitions_for_topic(self._topic)
        if not numbers:
            raise TransientError(f"there is no topic {self._topic}: `piperoll topics create` makes it")
        partitions = [TopicPartition(self._topic, number) for number in sorted(numbers)]
        consumer.assign(partitions)
        for partition, end in consumer.end_offsets(partitions, timeout_ms=_ANSWER_MS).items():
            consumer.seek(partition, end)
        return partitions

    def _look_after(self, consumer: KafkaConsumer, partitions: list[TopicPartition]) -> None:
        """poll() is silent while the broker is away; a question to it is not."""
        if consumer.partitions_for_topic(self._topic) != {place.partition for place in partitions}:
            raise TransientError(f"the partitions of {self._topic} have changed")
        try:
            consumer.end_offsets(partitions, timeout_ms=_ANSWER_MS)
        except KafkaError as error:
            self._note(error)
        else:
            self._note(None)

    def _note(self, error: Exception | None) -> None:
        if self._stopping.is_set():
            return
        if error is None and self.trouble is not None:
            self.trouble = None
            log.info("replies_followed", topic=self._topic)
        elif error is not None:
            self.trouble = f"replies are not heard: {type(error).__name__}"
            log.warning("replies_not_heard", reason=str(error))

    def _hear(self, message: Any) -> None:
        waiting = self._waiting.get(message.key)
        if waiting is None or message.value is None:
            return
        try:
            reply = msgspec.json.decode(message.value, type=Reply)
        except msgspec.MsgspecError as error:
            log.warning("reply_not_understood", reason=str(error), offset=message.offset)
            return
        self._loop.call_soon_threadsafe(waiting.take, reply)
