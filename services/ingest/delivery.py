"""The records of one request on their way to Kafka: what is known of each at any time.

Three threads touch a delivery: the publisher's hands records over, Kafka's sender reports what became of them, the
event loop may give up. Each field has one writer, but for the count, which has a lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import partial
from threading import Lock
from typing import Any

from kafka import KafkaProducer
from kafka import errors as kafka_errors

from services.ingest.reading import Record


class Outcome(StrEnum):
    """What became of a record."""

    DURABLE = "durable"
    UNKNOWN = "unknown"
    NOT_RECORDED = "not-recorded"


TOO_LARGE = (kafka_errors.MessageSizeTooLargeError, kafka_errors.RecordListTooLargeError)
REFUSED = (
    *TOO_LARGE,
    kafka_errors.InvalidRecordError,
    kafka_errors.InvalidTopicError,
    kafka_errors.TopicAuthorizationFailedError,
)
"""By these the broker says that it has not taken a record; behind any other error it may be recorded after all."""


class Delivery:
    """Made on the event loop; `done` ends when nothing more is expected. `report` is called with the producer and each
    error, and says whether the broker has refused that record by it."""

    __slots__ = (
        "_finish",
        "_given_up",
        "_handed",
        "_left",
        "_lock",
        "_refused",
        "_report",
        "done",
        "records",
        "results",
        "too_large",
    )

    def __init__(
        self,
        records: Sequence[Record],
        done: asyncio.Future[None],
        *,
        finish: Callable[[Delivery], None],
        report: Callable[[KafkaProducer, BaseException], bool],
    ) -> None:
        self.records = records
        self.done = done
        self.results: list[Any] = []
        self.too_large = False
        self._finish = finish
        self._report = report
        self._refused: set[int] = set()
        self._handed = 0
        self._left = len(records)
        self._lock = Lock()
        self._given_up = False

    def hand_over(self, producer: KafkaProducer, topic: str) -> None:
        """Hands the records to the producer, in order. What it refuses ends the delivery: nothing behind it is sent,
        so that a retry keeps the order. Anything unexpected is raised, and of the record in hand nothing is known."""
        for record in self.records:
            # Announced before the look at _given_up: whoever gives up either stops this record or sees it as sent.
            self._handed += 1
            if self._given_up:
                self._handed -= 1
                return
            try:
                sent = producer.send(topic, record.value, key=record.key, headers=record.headers)
            except (kafka_errors.KafkaError, ValueError) as error:
                if not isinstance(error, REFUSED):
                    self._report(producer, error)
                self.refuse(error)
                return
            except BaseException:
                self._break_off()
                raise
            self.results.append(sent)
            sent.add_callback(self._one_durable)
            sent.add_errback(partial(self._one_failed, producer, len(self.results) - 1))

    def refuse(self, error: BaseException) -> None:
        """Nothing more of this is sent."""
        self._handed = len(self.results)
        self.too_large = isinstance(error, TOO_LARGE)
        self._break_off()

    def give_up(self) -> None:
        """The caller waits no longer: what has not been handed over will not be."""
        self._given_up = True

    def outcomes(self) -> list[Outcome]:
        """Of each record, as far as is known now."""
        results = self.results
        known = [self._outcome(number, result) for number, result in enumerate(results)]
        being_handed = min(self._handed, len(self.records)) - len(known)
        known += [Outcome.UNKNOWN] * being_handed
        return known + [Outcome.NOT_RECORDED] * (len(self.records) - len(known))

    def _outcome(self, number: int, sent: Any) -> Outcome:
        if not sent.is_done:
            return Outcome.UNKNOWN
        if sent.exception is None:
            return Outcome.DURABLE
        return Outcome.NOT_RECORDED if number in self._refused else Outcome.UNKNOWN

    def _break_off(self) -> None:
        self._count(len(self.records) - len(self.results))

    def _one_durable(self, _metadata: Any) -> None:
        self._count(1)

    def _one_failed(self, producer: KafkaProducer, number: int, error: BaseException) -> None:
        if self._report(producer, error):
            self._refused.add(number)
            self.too_large = isinstance(error, TOO_LARGE)
        self._count(1)

    def _count(self, more: int) -> None:
        with self._lock:
            self._left -= more
            last = self._left == 0
        if last:
            self._finish(self)
