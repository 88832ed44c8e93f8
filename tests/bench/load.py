"""Many events at once, and the baseline."""

from __future__ import annotations

import time
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from services.common.settings import KafkaSettings

_TEXT = (
    b'{"specversion":"1.0","id":"%012d","source":"/apps/web","type":"data_export","time":"2026-05-01T12:00:00Z",'
    b'"datacontenttype":"application/json","data":{"user_id":%d,"dataset_id":"ds-%d",'
    b'"export_time":"2026-05-01T12:00:00Z","export_reason":"regulator request","note":"%s"}}'
)


def event(number: int, size: int) -> bytes:
    """A CloudEvent of a catalogued type and of `size` bytes."""
    bare = _TEXT % (number, number % 997, number % 89, b"")
    return _TEXT % (number, number % 997, number % 89, b"x" * max(0, size - len(bare)))


async def send(
    kafka: KafkaSettings, count: int, size: int, make: Callable[[int, int], bytes] = event
) -> None:
    """Sends `count` events, spread evenly over the partitions; `make` gives the one of a number and size."""
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers, acks="all", max_batch_size=900_000, enable_idempotence=True
    )
    await producer.start()
    waiting = []
    for partition in range(kafka.partitions):
        builder = producer.create_batch()
        for number in range(partition, count, kafka.partitions):
            value = make(number, size)
            if builder.append(timestamp=None, key=None, value=value) is None:
                waiting.append(await producer.send_batch(builder, kafka.topics.events, partition=partition))
                builder = producer.create_batch()
                builder.append(timestamp=None, key=None, value=value)
        waiting.append(await producer.send_batch(builder, kafka.topics.events, partition=partition))
    for future in waiting:
        await future
    await producer.stop()


async def read_rate(kafka: KafkaSettings, count: int) -> float:
    """Events per second that aiokafka reads from the topic, doing nothing with them."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    consumer.assign([TopicPartition(kafka.topics.events, n) for n in range(kafka.partitions)])
    began, seen = time.monotonic(), 0
    while seen < count:
        for records in (await consumer.getmany(timeout_ms=1000, max_records=20_000)).values():
            seen += len(records)
    took = time.monotonic() - began
    await consumer.stop()
    return count / took
