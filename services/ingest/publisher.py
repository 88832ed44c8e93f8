"""Puts records on audit.events and says what became of each, without ever blocking the event loop.

One thread owns the producer: its send() may block while metadata is missing. What comes back from Kafka's sender
thread reaches the loop in one wake-up for many deliveries. A producer whose broker does not acknowledge in time is
given up and made anew: kafka-python's idempotent producer does not come back from an expired batch by itself while
the broker is silent, and later records would hang behind it.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Lock

from kafka import KafkaProducer
from kafka import errors as kafka_errors

from services.common.errors import TransientError
from services.common.logging import get_logger
from services.common.settings import KafkaSettings
from services.ingest import producer as producers
from services.ingest.delivery import REFUSED, Delivery, Outcome
from services.ingest.metrics import Metrics
from services.ingest.reading import Record
from services.ingest.worker import Worker

log = get_logger(__name__)

_LOOK_SECONDS = 0.2
_RETRY_SECONDS = 1.0
STARTING = "ingest has not reached the broker yet"


class BrokerAwayError(Exception):
    """No record of this request has been handed over."""


class Publisher:
    """`trouble` says why nothing can be taken now, None where all is well. Made on the event loop; `on_failure` is
    called there when the thread fails."""

    def __init__(
        self,
        kafka: KafkaSettings,
        delivery_timeout: float,
        metrics: Metrics,
        *,
        on_failure: Callable[[], None],
    ) -> None:
        self.trouble: str | None = STARTING
        self._kafka = kafka
        self._topic = kafka.topics.events
        self._options = producers.options(kafka, delivery_timeout)
        self._timeout = delivery_timeout
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[Delivery] = SimpleQueue()
        self._finished: list[Delivery] = []
        self._finished_lock = Lock()
        self._producer: KafkaProducer | None = None
        self._broken: str | None = None
        self._on_failure = on_failure
        self.worker = Worker("publisher", self._run, self._fail)
        self._stopping = self.worker.stopping

    def start(self) -> None:
        self.worker.start()

    def away(self) -> bool:
        """Whether nothing can be taken now."""
        return self.trouble is not None

    def topic_id(self) -> bytes | None:
        """The id of the topic as the producer knows it now, None where the broker has not said it."""
        producer = self._producer
        return None if producer is None else producers.topic_id(producer, self._topic)

    async def publish(self, records: Sequence[Record]) -> Delivery:
        """Hands records over and waits until all are durable, have failed, or the time is up. Raises
        BrokerAwayError where no broker is connected."""
        if self.trouble is not None:
            raise BrokerAwayError(self.trouble)
        done: asyncio.Future[None] = self._loop.create_future()
        delivery = Delivery(records, done, finish=self._finish, report=self._report)
        if not records:
            return delivery
        self._queue.put(delivery)
        try:
            async with asyncio.timeout(self._timeout):
                await done
        except TimeoutError:
            delivery.give_up()
            if Outcome.UNKNOWN in delivery.outcomes():
                self._broken = f"the broker has not acknowledged for {self._timeout:g} s"
        for outcome, count in Counter(delivery.outcomes()).items():
            self._metrics.events.labels(outcome).inc(count)
        return delivery

    async def stop(self, seconds: float) -> None:
        """Sends what is queued, then ends; nothing may be published any more."""
        self.trouble = "ingest is stopping"
        await self.worker.stop(seconds)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                producer = producers.connect(self._kafka, self._options, self._topic)
            except TransientError as error:
                self.trouble = str(error)
                gc.collect()  # a producer that failed in its making holds sockets in reference cycles
                self._stopping.wait(_RETRY_SECONDS)
                continue
            self._producer = producer
            self._broken = self.trouble = None
            log.info("broker_reached", topic=self._topic)
            self._serve(producer)

    def _serve(self, producer: KafkaProducer) -> None:
        """Hands over what comes, until stopped or the producer is broken."""
        while self._broken is None:
            try:
                delivery = self._queue.get(timeout=_LOOK_SECONDS)
            except Empty:
                if self._stopping.is_set():
                    _close(producer, self._timeout)
                    return
                continue
            self._hand_over(producer, delivery)
        self.trouble = self._broken
        log.error("give_up_producer", reason=self.trouble)
        self._metrics.reconnects.inc()
        producers.part(producer)
        self._refuse_queued(self.trouble)

    def _hand_over(self, producer: KafkaProducer, delivery: Delivery) -> None:
        """Nothing goes to a producer that broke while we waited: it would fail that too, and nobody could say whether
        it was recorded."""
        if self._broken is None:
            delivery.hand_over(producer, self._topic)
        else:
            delivery.refuse(TransientError(self._broken))

    def _refuse_queued(self, why: str) -> None:
        while not self._queue.empty():
            self._queue.get().refuse(TransientError(why))

    def _fail(self) -> None:
        """What was handed over may still become durable, since Kafka's sender lives on; nothing else will."""
        self.trouble = "ingest cannot send to the broker any more and ends; the log says why"
        self._refuse_queued(self.trouble)
        self._loop.call_soon_threadsafe(self._on_failure)

    def _report(self, producer: KafkaProducer, error: BaseException) -> bool:
        """Takes note of a record that failed; any thread. Whether the broker has refused it: that is known of the first
        only. kafka-python (3.0.12) ends an idempotent producer after any failure, and fails with the same error what
        is in flight then, which may well be recorded."""
        if producer is not self._producer or self._broken is not None:
            return False
        self._broken = self.trouble = f"the broker did not take an event: {type(error).__name__}"
        log.warning("event_not_taken", reason=str(error))
        return isinstance(error, REFUSED)

    def _finish(self, delivery: Delivery) -> None:
        """Any thread: brings a delivery's end to the event loop."""
        with self._finished_lock:
            self._finished.append(delivery)
            first = len(self._finished) == 1
        if first:
            self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        with self._finished_lock:
            finished, self._finished = self._finished, []
        for delivery in finished:
            if not delivery.done.done():
                delivery.done.set_result(None)


def _close(producer: KafkaProducer, timeout: float) -> None:
    try:
        producer.close(timeout=timeout)
    except kafka_errors.KafkaError as error:
        log.warning("producer_not_flushed", reason=str(error))
        producers.part(producer)
