"""Offsets that compaction took away are lawful holes: skipped, never taken for events lost."""

import time
from itertools import pairwise
from uuid import uuid4

import pytest
from kafka.admin import ConfigResource, ConfigResourceType

from deploy.local import processes
from services.common.kafka import admin_client, create_topics
from services.common.settings import KafkaSettings
from tests.fault import feeder
from tests.fault.oracle import read_partition, replay
from tests.fault.test_enricher import SMALL
from tests.new_broker import new_broker

pytestmark = pytest.mark.xdist_group("cleaning-broker")

KEYS = 10
CLEANING = {
    "cleanup.policy": "compact",
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.01",
    "min.compaction.lag.ms": "0",
    "delete.retention.ms": "0",
}


@pytest.fixture(scope="module")
def cleaning_broker(open_folder, guard):
    """A broker of its own, whose cleaner looks ten times a second."""
    cleaner = {"log.cleaner.backoff.ms": "100"}
    folder = open_folder / "cleaning"
    broker = new_broker(folder, extra=cleaner)
    handle = broker.start()
    guard(handle)
    try:
        broker.wait_ready(handle)
        yield broker.address
    finally:
        processes.stop(handle, grace=5)


@pytest.fixture
def kafka(cleaning_broker):
    """Topics of one partition on it."""
    settings = KafkaSettings(
        bootstrap_servers=cleaning_broker,
        topic_prefix=f"t{uuid4().hex[:10]}",
        partitions=1,
        session_timeout_ms=3000,
    )
    create_topics(settings)
    return settings


def configure(kafka, **changes: str) -> None:
    """Sets the configuration of audit.events to its layout's, with these changes."""
    layout = {topic.name: topic.config for topic in kafka.topics.layout(kafka.event_limit)}
    config = layout[kafka.topics.events] | changes
    admin = admin_client(kafka, "test")
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, kafka.topics.events, configs=config)])
    admin.close()


def send_repeats(kafka, start: int, rounds: int) -> int:
    """`rounds` events of each key with some of keys of their own between, in batches of different lengths; then one
    more, so that the segment before it is closed and can be cleaned. Returns how many compaction will leave."""
    client = feeder.producer(kafka)
    kept = KEYS + 1
    for turn in range(rounds):
        for key in range(KEYS):
            number = start + turn * KEYS + key
            own = turn % 3 == 1 and key == turn % KEYS
            kept += own
            name = f"own-{number}" if own else f"key-{key}"
            client.send(kafka.topics.events, key=name.encode(), value=feeder.event(number), partition=0)
            if number % 7 == turn % 7:
                client.flush()
    client.flush()
    time.sleep(0.2)
    last = start + rounds * KEYS
    client.send(kafka.topics.events, key=f"own-{last}".encode(), value=feeder.event(last), partition=0)
    client.flush()
    client.close()
    return kept


def compact(kafka, start: int, rounds: int) -> list[int]:
    """Sends repeats, and waits until of each key only the last is there, as of `start`. Returns the offsets left."""
    configure(kafka, **CLEANING)
    expected = send_repeats(kafka, start, rounds)

    def left() -> list[int]:
        found = [message.offset for message in read_partition(kafka, kafka.topics.events, 0)]
        return [offset for offset in found if offset >= start]

    feeder.wait_until(lambda: len(left()) == expected, what="compaction")
    configure(kafka)
    return left()


def test_offsets_that_compaction_took_away_are_skipped_and_never_called_expired(kafka, start_service):
    send_repeats(kafka, 900_000, rounds=0)  # offset 0, of a key of its own
    before = compact(kafka, 1, rounds=12)
    enricher = start_service("enricher", **SMALL)
    feeder.wait_committed(kafka, before[-1] + 1)
    enricher.stop()
    assert len({later - earlier for earlier, later in pairwise(before)}) > 2  # several holes
    first = replay(read_partition(kafka, kafka.topics.enriched, 0))
    assert first.recorded == [0, *before]
    assert first.skipped == sorted(set(range(1, before[-1])) - set(before))
    assert first.expired == []

    after = compact(kafka, before[-1] + 1, rounds=9)
    assert after[0] > before[-1] + 1  # the hole begins at the committed offset
    start_service("enricher", **SMALL)
    feeder.wait_committed(kafka, after[-1] + 1)
    second = replay(read_partition(kafka, kafka.topics.enriched, 0))
    assert second.recorded == [*first.recorded, *after]
    assert sorted([*second.recorded, *second.skipped]) == list(range(after[-1] + 1))
    assert (second.expired, second.unplaceable) == ([], 0)


def test_a_partition_whose_first_offsets_were_compacted_away_begins_where_something_is_left(
    kafka, start_service
):
    left = compact(kafka, 0, rounds=5)
    assert left[0] > 0
    start_service("enricher", **SMALL)
    feeder.wait_committed(kafka, left[-1] + 1)
    outcome = replay(read_partition(kafka, kafka.topics.enriched, 0))
    assert outcome.recorded == left
    assert (outcome.expired, outcome.unplaceable) == ([], 0)
