"""Events for audit.events: so many at once, or a steady stream from a thread."""

from __future__ import annotations

import json
import threading
import time
from typing import Self

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from services.common.kafka import client_options
from services.common.settings import KafkaSettings


def event(number: int, **changes) -> bytes:
    """A CloudEvent of a catalogued type, about 300 bytes."""
    data = {
        "user_id": number,
        "dataset_id": "ds-99",
        "export_time": "2026-05-01T12:00:00Z",
        "export_reason": "regulator request",
    }
    return json.dumps(
        {
            "specversion": "1.0",
            "id": f"e-{number:08d}",
            "source": "/apps/web",
            "type": "data_export",
            "time": "2026-05-01T12:00:00Z",
            "datacontenttype": "application/json",
            "data": data,
        }
        | changes
    ).encode()


def producer(settings: KafkaSettings, **options) -> KafkaProducer:
    """A producer that waits for acks."""
    return KafkaProducer(
        **(
            client_options(settings, "feeder")
            | {"acks": "all", "enable_idempotence": True, "linger_ms": 5}
            | options
        )
    )


def send(settings: KafkaSettings, count: int, *, start: int = 0) -> None:
    """`count` events, spread evenly over the partitions, all acknowledged."""
    client = producer(settings)
    futures = [
        client.send(settings.topics.events, value=event(start + n), partition=n % settings.partitions)
        for n in range(count)
    ]
    client.flush()
    for future in futures:
        future.get(timeout=30)
    client.close()


class Feeder:
    """A steady stream of events, until the context ends; `sent` counts those acknowledged."""

    def __init__(self, settings: KafkaSettings, *, per_second: int = 500) -> None:
        self._settings = settings
        self._pause = 0.05
        self._each = max(1, int(per_second * self._pause))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        client, number = producer(self._settings), 1_000_000
        while not self._stop.is_set():
            for _ in range(self._each):
                partition = number % self._settings.partitions
                client.send(self._settings.topics.events, value=event(number), partition=partition)
                number += 1
            client.flush()
            self.sent += self._each
            time.sleep(self._pause)
        client.close()


class Offsets:
    """The end of a topic, and what a service's group has committed on it: asked over one connection, as a new client
    for each look costs more than what is waited for."""

    def __init__(self, settings: KafkaSettings, topic: str, service: str | None = None) -> None:
        group = None if service is None else settings.topics.group(service)
        self._consumer = KafkaConsumer(
            bootstrap_servers=settings.bootstrap_servers, group_id=group, enable_auto_commit=False
        )
        partitions = self._consumer.partitions_for_topic(topic) or ()
        self._places = [TopicPartition(topic, partition) for partition in partitions]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self._consumer.close()

    def end(self) -> int:
        """The sum of the end offsets."""
        return sum(self._consumer.end_offsets(self._places).values())

    def committed(self) -> int:
        """The sum of the committed offsets; a partition without one counts as 0."""
        return sum(self._consumer.committed(place) or 0 for place in self._places)


def total(settings: KafkaSettings, topic: str) -> int:
    """The sum of the end offsets of a topic."""
    with Offsets(settings, topic) as offsets:
        return offsets.end()


def wait_until(condition, *, timeout: float = 60.0, what: str = "the condition", every: float = 0.05) -> None:
    """Polls until `condition()` holds, after `every` seconds or what looking took, so that half of the time is left to
    what is waited for."""
    deadline = time.monotonic() + timeout
    while True:
        began = time.monotonic()
        if condition():
            return
        now = time.monotonic()
        assert now < deadline, f"{what} does not hold after {timeout} s"
        time.sleep(max(every, now - began))


def wait_grown(settings: KafkaSettings, by: int) -> None:
    """Until audit.enriched has grown by so many messages."""
    with Offsets(settings, settings.topics.enriched) as offsets:
        goal = offsets.end() + by
        wait_until(lambda: offsets.end() >= goal, what=f"{by} more enriched")


def wait_committed(settings: KafkaSettings, goal: int, service: str = "enricher", topic: str = "") -> None:
    """Until a service's group has committed so many offsets of a topic (audit.events)."""
    with Offsets(settings, topic or settings.topics.events, service) as offsets:
        wait_until(lambda: offsets.committed() == goal, what=f"a commit of {goal}")


def wait_drained(settings: KafkaSettings, *, timeout: float = 90.0) -> None:
    """Until the enricher has committed all of audit.events."""
    with Offsets(settings, settings.topics.events, "enricher") as offsets:
        wait_until(
            lambda: offsets.committed() >= offsets.end(),
            timeout=timeout,
            what="the enricher's commit at the end of audit.events",
        )
