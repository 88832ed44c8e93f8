"""`python -m tests.bench.writer_speed`: events per second of the writer alone, without an enricher before it.

Events of 300 bytes with the enricher's header stand in audit.enriched before the writers start; time runs from the
first commit to the last. CPU is given for each part, as the machine's other work changes the seconds but hardly these.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from aiokafka import AIOKafkaProducer

from services.common.kafka import admin_client, topic_ids
from services.common.settings import KafkaSettings
from tests.bench.load import event
from tests.bench.parts import Parts, Timing, query_value
from tests.builders import Log, Message


def main() -> int:
    """Prints one line for each number of instances."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--bytes", type=int, default=300)
    parser.add_argument("--partitions", type=int, default=6)
    parser.add_argument("--instances", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="piperoll-bench-"))
    folder.chmod(0o711)
    try:
        with Parts(folder) as parts:
            kafka = parts.topics("writer", options.partitions)
            asyncio.run(send(kafka, options.events, options.bytes))
            for instances in options.instances:
                report(instances, drain(parts, kafka, options.events, instances))
    finally:
        shutil.rmtree(folder)
    return 0


async def send(kafka: KafkaSettings, count: int, size: int) -> None:
    """Enriched events, spread evenly over the partitions."""
    admin = admin_client(kafka, "bench")
    topic_id = topic_ids(admin, [kafka.topics.events])[kafka.topics.events]
    admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all", max_batch_size=900_000)
    await producer.start()
    for partition in range(kafka.partitions):
        log, builder = Log(topic_id, partition), producer.create_batch()
        for offset in range(count // kafka.partitions):
            identifier = f"{partition}-{offset}"
            message = log.event(offset, identifier=identifier, value=event(offset, size))
            if _append(builder, message) is None:
                await producer.send_batch(builder, kafka.topics.enriched, partition=partition)
                builder = producer.create_batch()
                _append(builder, message)
        await (await producer.send_batch(builder, kafka.topics.enriched, partition=partition))
    await producer.stop()


def _append(builder, message: Message):
    return builder.append(timestamp=None, key=message.key, value=message.value, headers=message.headers)


def drain(parts: Parts, kafka: KafkaSettings, events: int, instances: int) -> Timing:
    """Writers of a group of their own, into a database of their own."""
    admin, dsn = parts.database()
    goal = events // kafka.partitions * kafka.partitions
    services = [parts.start(kafka, "writer", DATABASE_URL=dsn) for _ in range(instances)]
    count = "SELECT coalesce(sum(next_source_offset), 0)::bigint FROM audit.chain_head"
    return parts._measure(services, goal, lambda: query_value(admin, count))


def report(instances: int, timing: Timing) -> None:
    """One line."""
    told = timing.as_dict(1)
    cpu = ", ".join(f"{part} {us}" for part, us in told["cpu_us_per_event"].items())
    print(
        f"{instances} writer(s): {told['events_per_second']:,} events/s; CPU µs an event: {cpu}; {told['peak_mib']} MiB"
    )


if __name__ == "__main__":
    sys.exit(main())
