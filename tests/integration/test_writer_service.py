"""The writer as a process, on a real broker and a real database."""

import json
import time

import asyncpg
import httpx
import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from schemas.record import Kind
from tests.builders import annotation, own_event, structured
from tests.recording import Recorder
from tests.writing import Asked, Producer, read_all

FAST = {"WRITER_BATCH_AGE_MS": "20"}


@pytest.fixture
async def asked(database):
    connection = await asyncpg.connect(database.admin_dsn)
    yield Asked(connection)
    await connection.close()


@pytest.fixture
def producer(kafka):
    with Producer(kafka) as made:
        yield made


async def test_everything_on_the_three_topics_is_chained(producer, asked, start_service):
    logs = producer.logs()
    for log in logs:
        producer.enriched(log.partition, (log.event(offset, offset - 1) for offset in range(200)))
    producer.send(producer.topics.annotations, annotation(logs[1].topic_id, 1, 7), partition=2)
    producer.send(producer.topics.system, own_event())
    writer = start_service("writer", **FAST).wait_ready()
    await asked.until_events(600)
    await asked.until("SELECT count(*) FROM audit.record WHERE kind IN (7, 8)", 2)
    assert await asked.offsets(1) == list(range(200))
    assert await asked.kinds(".annotations", 2) == [Kind.GENESIS, Kind.ANNOTATION]
    assert await asked.kinds(".system") == [Kind.GENESIS, Kind.OWN_EVENT]
    await asked.verify()
    row = await asked.connection.fetchrow(
        "SELECT ai_summary, risk FROM audit_events WHERE kafka_partition = 1 AND kafka_offset = 7"
    )
    assert tuple(row) == ("event 7 said later", "high")
    assert writer.stop() == 0


async def test_it_goes_on_where_it_stopped(producer, asked, start_service):
    [log, *_] = producer.logs()
    producer.enriched(0, (log.event(offset, offset - 1) for offset in range(50)))
    first = start_service("writer", **FAST)
    await asked.until_events(50)
    assert first.stop() == 0
    producer.enriched(0, (log.event(offset, offset - 1) for offset in range(40, 100)))
    start_service("writer", **FAST)
    await asked.until_events(100)
    assert await asked.offsets(0) == list(range(100))
    assert await asked.kinds(".events") == [Kind.GENESIS] + [Kind.EVENT] * 100
    await asked.verify()


async def test_lag_and_metrics_are_to_be_seen(producer, kafka, asked, start_service):
    [log, *_] = producer.logs()
    producer.enriched(0, (log.event(offset, offset - 1) for offset in range(30)))
    writer = start_service("writer", **FAST)
    await asked.until_events(30)
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    partition = TopicPartition(kafka.topics.enriched, 0)
    deadline = time.monotonic() + 10
    committed = None
    while committed != 30 and time.monotonic() < deadline:
        found = admin.list_group_offsets(kafka.topics.group("writer"))
        committed = _offset(found, partition)
    admin.close()
    assert committed == 30
    async with httpx.AsyncClient(base_url=writer.url) as client:
        text = (await client.get("/metrics")).text
        assert (await client.get("/healthz")).status_code == 200
    assert 'piperoll_writer_records_total{kind="event"} 30.0' in text
    assert f'piperoll_writer_lag_offsets{{partition="0",topic="{kafka.topics.enriched}"}} 0.0' in text


def _offset(found, partition) -> int | None:
    offsets = found.get(partition) if partition in found else None
    if offsets is None:
        for group in found.values():
            if isinstance(group, dict) and partition in group:
                offsets = group[partition]
    return offsets.offset if isinstance(offsets, OffsetAndMetadata) else None


async def test_a_message_without_our_header_is_reported_and_stops_nothing(
    producer, kafka, asked, start_service
):
    [log, *_] = producer.logs()
    producer.enriched(0, [log.event(0, -1)])
    offset = producer.send(kafka.topics.enriched, b"intruder")
    producer.send(kafka.topics.enriched, b"intruder", headers=[("piperoll", b"\1\0")])
    producer.enriched(0, [log.event(1)])
    writer = start_service("writer", **FAST)
    await asked.until_events(2)
    alerts = [json.loads(value) for value in read_all(kafka, kafka.topics.alerts, 2)]
    assert {alert["name"] for alert in alerts} == {"enriched_unreadable"}
    assert {"topic": kafka.topics.enriched, "partition": 0, "offset": offset}.items() <= alerts[0][
        "facts"
    ].items()
    await asked.until("SELECT count(*) FROM audit.record WHERE kind = 8", 2)
    assert (
        await asked.connection.fetchval(
            "SELECT next_source_offset FROM audit.chain_head h JOIN audit.chain c"
            " USING (chain_no) WHERE c.topic LIKE '%.events'"
        )
        == 2
    )
    assert '"level": "critical"' in writer.log()


async def test_a_header_name_that_is_no_utf8_stops_nothing(producer, kafka, asked, start_service):
    [log, *_] = producer.logs()
    producer.enriched(0, [log.event(0, -1)])
    _send_raw_header(kafka, b"\xff\xfe")
    producer.enriched(0, [log.event(1)])
    start_service("writer", **FAST)
    await asked.until_events(2)


def _send_raw_header(kafka, name: bytes) -> None:
    """kafka-python encodes header names itself: a string whose encoding is these bytes."""

    class Name(str):
        __slots__ = ()

        def encode(self, *_: object) -> bytes:
            return name

    sender = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    sender.send(kafka.topics.enriched, value=b"x", headers=[(Name("x"), b"y")], partition=0).get(10)
    sender.close()


async def test_a_topic_deleted_and_created_anew_is_read_from_its_beginning(
    producer, kafka, asked, start_service
):
    [log, *_] = producer.logs()
    producer.enriched(0, (log.event(offset, offset - 1) for offset in range(60)))
    start_service("writer", **FAST)
    await asked.until_events(60)
    recreate(kafka, [kafka.topics.enriched, kafka.topics.events])
    [new, *_] = producer.logs()
    with Producer(kafka) as again:
        again.enriched(0, (new.event(offset, offset - 1) for offset in range(100)))
    await asked.until_events(160)
    assert await asked.offsets(0) == [*range(60), *range(100)]
    kinds = await asked.kinds(".events")
    assert kinds == [Kind.GENESIS, *[Kind.EVENT] * 60, Kind.CLOSE, Kind.GENESIS, *[Kind.EVENT] * 100]
    await asked.verify()


def recreate(kafka, topics) -> None:
    from kafka.admin import NewTopic  # noqa: PLC0415
    from kafka.errors import TopicAlreadyExistsError  # noqa: PLC0415

    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    admin.delete_topics(topics)
    deadline = time.monotonic() + 20
    for topic in topics:
        while True:
            try:
                admin.create_topics([NewTopic(topic, kafka.partitions, 1)])
                break
            except TopicAlreadyExistsError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
    admin.close()


async def test_own_topics_created_anew_are_chained_anew(producer, kafka, asked, start_service):
    for _ in range(5):
        producer.send(kafka.topics.system, own_event())
    writer = start_service("writer", **FAST)
    await asked.until("SELECT count(*) FROM audit.record WHERE kind = 8", 5)
    writer.stop()
    recreate(kafka, [kafka.topics.system])
    with Producer(kafka) as again:
        for _ in range(3):
            again.send(kafka.topics.system, own_event())
    start_service("writer", **FAST)
    await asked.until("SELECT count(*) FROM audit.record WHERE kind = 8", 9)  # one alert of our own with them
    assert (await asked.kinds(".system")).count(Kind.GENESIS) == 2
    await asked.verify()


async def test_a_rewound_log_is_a_new_chain(producer, asked, kafka, start_service):
    [log, *_] = producer.logs()
    producer.enriched(0, (log.event(offset, offset - 1) for offset in range(20)))
    writer = start_service("writer", **FAST)
    await asked.until_events(20)
    writer.stop()
    start_service("writer", **FAST)
    producer.enriched(
        0,
        (
            log.event(offset, offset - 1, value=structured("/b", f"n{offset}", "login", offset))
            for offset in range(15, 25)
        ),
    )
    await asked.until_events(30)
    assert await asked.offsets(0) == [*range(20), *range(15, 25)]
    assert json.loads(read_all(kafka, kafka.topics.alerts, 1)[0])["name"] == "log_rewound"
    await asked.verify()


async def test_what_a_transaction_aborts_is_a_lawful_hole(producer, kafka, asked, start_service):
    """Only committed messages are read; aborted ones and markers are covered by skip records."""
    sender = KafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers, transactional_id=f"{kafka.topic_prefix}-t", acks="all"
    )
    sender.init_transactions()
    for outcome in (sender.commit_transaction, sender.abort_transaction, sender.commit_transaction):
        sender.begin_transaction()
        for _ in range(2):
            sender.send(kafka.topics.system, value=own_event()).get(10)
        outcome()
    sender.close()
    start_service("writer", **FAST)
    await asked.until("SELECT count(*) FROM audit.record WHERE kind = 8", 4)
    kinds = await asked.kinds(".system")
    assert kinds == [Kind.GENESIS, *[Kind.OWN_EVENT] * 2, Kind.SKIP, *[Kind.OWN_EVENT] * 2]
    await asked.verify()


async def test_duplicates_are_found_across_restarts(producer, asked, start_service):
    [log, *_] = producer.logs()
    producer.enriched(0, [log.event(0, -1, identifier="x", value=b"1")])
    writer = start_service("writer", **FAST)
    await asked.until_events(1)
    writer.stop()
    producer.enriched(0, [log.event(1, identifier="x", value=b"1"), log.event(2, identifier="x", value=b"2")])
    start_service("writer", **FAST)
    await asked.until_events(2)
    assert await asked.kinds(".events") == [Kind.GENESIS, Kind.EVENT, Kind.DUPLICATE, Kind.EVENT]


async def test_committed_offsets_in_kafka_decide_nothing(producer, kafka, database, asked, start_service):
    """The chain's head alone says where to read on."""
    [log, *_] = producer.logs()
    messages = [log.event(offset, offset - 1) for offset in range(10)]
    producer.enriched(0, messages)
    read_topic_id = producer.topic_id(kafka.topics.enriched)
    async with Recorder(database.writer_dsn, read_topic_id=read_topic_id) as recorder:
        recorder.place = recorder.linker.place = recorder.place._replace(
            topic=kafka.topics.events, read_topic=kafka.topics.enriched
        )
        await recorder.record(*messages[:4])
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    admin.close()
    start_service("writer", **FAST)
    await asked.until_events(10)
    assert await asked.kinds(".events") == [Kind.GENESIS] + [Kind.EVENT] * 10


async def test_wrong_settings_end_it_with_2(start_service):
    writer = start_service("writer", WRITER_BATCH_RECORDS="many")
    assert writer.wait() == 2
    assert "WRITER_BATCH_RECORDS" in writer.log()
