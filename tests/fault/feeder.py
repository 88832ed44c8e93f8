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


def total(settings: KafkaSettings, topic: str) -> int:
    """The sum of the end offsets of a topic."""
    consumer = KafkaConsumer(bootstrap_servers=settings.bootstrap_servers, group_id=None)
    ends = consumer.end_offsets([TopicPartition(topic, n) for n in range(settings.partitions)])
    consumer.close()
    return sum(ends.values())


def committed(settings: KafkaSettings, service: str) -> int:
    """The sum of the committed offsets of a service's group on audit.events."""
    consumer = KafkaConsumer(
        bootstrap_servers=settings.bootstrap_servers, group_id=settings.topics.group(service)
    )
    places = [TopicPartition(settings.topics.events, n) for n in range(settings.partitions)]
    found = sum(consumer.committed(place) or 0 for place in places)
    consumer.close()
    return found


def wait_until(condition, *, timeout: float = 60.0, what: str = "the condition") -> None:
    """Polls until `condition()` holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"{what} does not hold after {timeout} s"
        time.sleep(0.05)


def wait_drained(settings: KafkaSettings, *, timeout: float = 90.0) -> None:
    """Until the enricher has committed all of audit.events."""
    wait_until(
        lambda: committed(settings, "enricher") >= total(settings, settings.topics.events),
        timeout=timeout,
        what="the enricher's commit at the end of audit.events",
    )
