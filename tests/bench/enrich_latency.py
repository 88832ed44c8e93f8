"""`python -m tests.bench.enrich_latency [--rules DIR]`: how much later than the event its enrichment is on its topic.

One enricher; events of 300 bytes at a steady rate, a few at a time to each partition in turn. Both times are the broker's
own (`LogAppendTime`), so the figure is what the enricher adds: fetching, enriching, sending. The first seconds, in which the
enricher meets everything for the first time, are not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from services.common.kafka import admin_client
from services.common.settings import KafkaSettings
from tests.bench.load import event
from tests.bench.parts import Parts

TICK_S = 0.01
WARM_UP_S = 5.0


def main() -> int:
    """Prints median, p99 and the largest of the milliseconds between the two times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=5000, help="events a second")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--bytes", type=int, default=300)
    parser.add_argument("--partitions", type=int, default=6)
    parser.add_argument("--rules", type=Path, help="a folder of more rules, the community's, say")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="piperoll-bench-"))
    folder.chmod(0o711)
    try:
        with Parts(folder) as parts:
            kafka = parts.topics("latency", options.partitions)
            _use_broker_times(kafka)
            own = {} if options.rules is None else {"RULES_DIR": str(options.rules)}
            enricher = parts.start(kafka, "enricher", **own).wait_ready(120)
            found = asyncio.run(_measure(kafka, options))
            enricher.stop()
    finally:
        shutil.rmtree(folder)
    found.sort()
    print(
        f"{os.cpu_count()} cores, Python {platform.python_version()}, load average {os.getloadavg()[0]:.1f}"
    )
    print(
        f"latency added at {options.rate:,} events/s: median {_share(found, 0.5)} ms, p99 {_share(found, 0.99)} ms,"
        f" largest {found[-1]} ms, of {len(found):,} events"
    )
    return 0


def _use_broker_times(kafka: KafkaSettings) -> None:
    admin = admin_client(kafka, "bench")
    times = {"message.timestamp.type": "LogAppendTime"}
    admin.alter_configs(
        [
            ConfigResource(ConfigResourceType.TOPIC, topic, configs=times)
            for topic in (kafka.topics.events, kafka.topics.enriched)
        ]
    )
    admin.close()


async def _measure(kafka: KafkaSettings, options: argparse.Namespace) -> list[int]:
    """Milliseconds between the times of each event and of its enrichment."""
    count = await _send(kafka, options)
    came = await _times(kafka, kafka.topics.events, count)
    went = await _times(kafka, kafka.topics.enriched, count)
    begin = min(times[0] for times in came if times) + WARM_UP_S * 1000
    return [
        done - at
        for events, enriched in zip(came, went, strict=True)
        for at, done in zip(events, enriched, strict=True)  # one for each, in the same order
        if at >= begin
    ]


async def _send(kafka: KafkaSettings, options: argparse.Namespace) -> int:
    """Sends at the wanted rate; returns how many."""
    # a builder that is full takes no more, and says so by its answer alone: so large that none is
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers, acks="all", max_batch_size=1024 * 1024
    )
    await producer.start()
    begun, sent, goal = time.monotonic(), 0, options.rate * options.seconds
    waiting = []
    tick = 0
    while sent < goal:
        tick += 1
        due = min(goal, int((time.monotonic() - begun) * options.rate))
        builder, partition = producer.create_batch(), tick % options.partitions
        for number in range(sent, due):
            if builder.append(timestamp=None, key=None, value=event(number, options.bytes)) is None:
                raise RuntimeError("a tick's events do not fit one batch: lower --rate")
        if due > sent:
            waiting.append(await producer.send_batch(builder, kafka.topics.events, partition=partition))
        sent = due
        await asyncio.sleep(max(0.0, begun + tick * TICK_S - time.monotonic()))
    await asyncio.gather(*waiting)
    await producer.stop()
    return sent


async def _times(kafka: KafkaSettings, topic: str, count: int) -> list[list[int]]:
    """The broker's times of all messages of a topic, by partition; waits until there are `count`."""
    places = [TopicPartition(topic, partition) for partition in range(kafka.partitions)]
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    consumer.assign(places)
    found: dict[TopicPartition, list[int]] = {place: [] for place in places}
    until = time.monotonic() + 300
    while sum(map(len, found.values())) < count:
        if time.monotonic() > until:
            raise TimeoutError(f"{topic} has {sum(map(len, found.values())):,} of {count:,} messages")
        for place, records in (await consumer.getmany(timeout_ms=1000)).items():
            found[place] += [record.timestamp for record in records]
    await consumer.stop()
    return [found[place] for place in places]


def _share(ordered: list[int], share: float) -> int:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


if __name__ == "__main__":
    sys.exit(main())
