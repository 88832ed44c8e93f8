"""Many events of 200 kinds through enricher and annotator as processes, over a real broker, with a stand-in for the model."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition
from kafka import KafkaAdminClient
from kafka.errors import CoordinatorNotAvailableError

from deploy.local import processes
from schemas.enrichment import Enrichment, decode_header
from services.common.kafka import admin_client
from services.common.settings import KafkaSettings
from services.enricher.readings import GRAVE
from tests.bench import load
from tests.bench.parts import Parts
from tests.fault.feeder import total
from tests.service_process import ServiceProcess
from tests.standins import openai_server as standin
from tests.standins.openai_server import OpenAiStandIn

PARTITIONS, ACTIONS, RESULTS = 6, 50, 4
GRAVE_EVERY = 1000
BATCH = 10
_PROGRESS_S = 10.0
_LIMITS = {"AI_LINGER": "30", "AI_MAX_REQUESTS_PER_MONTH": "1000000", "AI_MAX_NEW_SHAPES_PER_SOURCE": "1000", "AI_MAX_NEW_SHAPES_TOGETHER": "1000", "AI_EVENTS_PER_REQUEST": str(BATCH),
           "AI_MAX_REQUESTS_PER_MINUTE": "1000000"}  # fmt: skip
Say = Callable[[str], None]
Place = tuple[int, int]
"""Partition and offset on audit.events."""
_USER = re.compile(rb'"user_id":"(u\d+)"')
_users = re.compile(r"\bu\d+\b").findall
_decode = msgspec.json.Decoder(Enrichment).decode


class _Annotation(msgspec.Struct):
    partition: int
    offset: int
    summary: str


def event(number: int, size: int) -> bytes:
    """An event of one of 200 kinds, with a user of its own; one in a thousand is of high risk by rules."""
    kind = number * 7919 % (ACTIONS * RESULTS)
    grave = number % GRAVE_EVERY == 0
    data = {"user_id": f"u{number}", "ip": "10.0.0.1", "action": f"act-{kind % ACTIONS}", "result": f"r{kind // ACTIONS}"}  # fmt: skip
    made = {"specversion": "1.0", "id": str(number), "source": "piperoll/forged" if grave else "/app",
            "type": "forged" if grave else "t", "data": data}  # fmt: skip
    return json.dumps(made, separators=(",", ":")).encode().ljust(size)


def many_events(folder: Path, count: int, say: Say) -> dict[str, Any]:
    """What they cost in requests, and how many lack an AI summary with their own values."""
    with Parts(folder) as parts, OpenAiStandIn() as server:
        kafka = parts.topics("million", PARTITIONS)
        say(f"sending {count:,} events")
        asyncio.run(load.send(kafka, count, 0, event))
        variables = server.variables() | _LIMITS
        services = [parts.start(kafka, "enricher", *what, **variables) for what in ((), ("annotator",))]
        _wait(kafka, count, server, services, say)
        cpu = psutil.Process(services[0].pid).cpu_times(), psutil.Process(services[1].pid).cpu_times()
        for service in services:
            service.stop()
        say("reading what came of it")
        found = asyncio.run(_check(kafka, count))
    kinds = Counter("shape" if standin.kind_in(body) else "events" for body in server.requests)
    allowed = ACTIONS * RESULTS + -(-found["high_risk"] // BATCH)
    return {**found, "requests": len(server.requests), "for_shapes": kinds["shape"], "for_high_risk": kinds["events"],
            "requests_allowed": allowed, "cpu_us_per_event_enricher": _us(cpu[0], count), "cpu_us_per_event_annotator": _us(cpu[1], count)}  # fmt: skip


def _us(spent: Any, count: int) -> float:
    return round(1e6 * (spent.user + spent.system) / count, 1)


def _wait(
    kafka: KafkaSettings, count: int, server: OpenAiStandIn, services: list[ServiceProcess], say: Say
) -> None:
    """Until the annotator has committed all that the enricher wrote."""
    admin, told = admin_client(kafka, "bench"), 0.0
    group = kafka.topics.group("annotator")
    while True:
        enriched = total(kafka, kafka.topics.enriched)
        done = _committed(admin, group)
        if time.monotonic() - told > _PROGRESS_S or enriched >= count <= done:
            told = time.monotonic()
            say(f"{enriched:,} enriched, {done:,} looked at by the annotator, {total(kafka, kafka.topics.annotations):,} annotations, "
                f"{len(server.requests):,} requests")  # fmt: skip
        if enriched >= count <= done:
            admin.close()
            return
        for service in services:
            assert processes.exit_status(service.handle) is None, service.log()
        time.sleep(1)


def _committed(admin: KafkaAdminClient, group: str) -> int:
    try:
        return sum(meta.offset for meta in admin.list_group_offsets(group).get(group, {}).values())
    except CoordinatorNotAvailableError:  # nobody has joined yet
        return 0


async def _check(kafka: KafkaSettings, count: int) -> dict[str, int]:
    """Reads all of audit.annotations and audit.enriched."""
    late: dict[Place, str] = {}
    async for record in _all(kafka, kafka.topics.annotations):
        said = msgspec.json.decode(record.value, type=_Annotation)
        late[said.partition, said.offset] = said.summary
    found = Counter(
        events=0, high_risk=0, read_when_enriched=0, read_later=0, without_ai_summary=0, without_own_values=0
    )
    async for record in _all(kafka, kafka.topics.enriched):
        header = decode_header(record.headers[-1][1])
        document = _decode(header.enrichment)
        user = _USER.search(record.value)
        assert user is not None
        own = user[1].decode()
        text = late.get((header.partition, header.offset)) or (document.ai.summary if document.ai else "")
        found["events"] += 1
        found["high_risk"] += document.risk in GRAVE
        found["read_when_enriched"] += document.ai is not None
        found["read_later"] += (header.partition, header.offset) in late
        found["without_ai_summary"] += not text
        found["without_own_values"] += own not in _users(text) or own not in _users(document.summary)
    assert found["events"] == count, f"{found['events']:,} of {count:,} events were enriched"
    return dict(found)


async def _all(kafka: KafkaSettings, topic: str) -> Any:
    places = [TopicPartition(topic, number) for number in range(kafka.partitions)]
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    consumer.assign(places)
    left = sum((await consumer.end_offsets(places)).values())
    while left:
        for records in (await consumer.getmany(timeout_ms=1000, max_records=10_000)).values():
            left -= len(records)
            for record in records:
                yield record
    await consumer.stop()
