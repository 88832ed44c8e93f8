"""Waits until the writer has recorded everything that the topics held when an erasure was asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError

from services.cli.erasure.finding import query
from services.cli.group_offsets import await_coordinator
from services.common.errors import TransientError
from services.common.kafka import admin_client, topic_ids
from services.common.kafka_client import client_options
from services.common.settings import KafkaSettings

_PAUSE_S = 0.3
_MARKERS_S = 3.0
Progress = Callable[[str], None]


class Ends(NamedTuple):
    """First and next offset of every partition of a topic."""

    first: dict[int, int]
    end: dict[int, int]

    def behind(self, passed: dict[int, int]) -> dict[int, tuple[int, int]]:
        """By partition, from where to where `passed` has not come yet."""
        return {
            number: (max(passed.get(number, 0), self.first[number]), end)
            for number, end in self.end.items()
            if max(passed.get(number, 0), self.first[number]) < end
        }


def wait_until_passed(settings: KafkaSettings, dsn: str, patience_s: float, progress: Progress) -> None:
    """First the enricher must have passed the present end of audit.events, then the writer the ends that audit.enriched
    and audit.annotations have then, and with no hole in between. Raises TransientError where that takes longer than
    `patience_s`."""
    deadline = time.monotonic() + patience_s
    topics = settings.topics
    with _asking(settings) as kafka:
        ends = kafka.ends(topics.events)
        _wait(kafka, topics.events, ends, kafka.enriched_so_far, "the enricher", deadline, progress)
        for topic in (topics.enriched, topics.annotations):
            source = topics.events if topic == topics.enriched else topic
            topic_id = kafka.topic_id(topic)

            written = partial(_read, dsn, source, topic_id)
            _wait(kafka, topic, kafka.ends(topic), written, "the writer", deadline, progress)
        topic_id = kafka.topic_id(topics.events)
        recorded = partial(_recorded, dsn, topics.events, topic_id)
        who = "a hole is open (`piperoll replay offsets` tells): the chain"
        _wait(kafka, topics.events, ends, recorded, who, deadline, progress)


def _wait(
    kafka: _Kafka,
    topic: str,
    ends: Ends,
    passed: Callable[[], dict[int, int]],
    who: str,
    deadline: float,
    progress: Progress,
) -> None:
    behind = ends.behind(passed())
    while behind:
        behind = {at: span for at, span in behind.items() if not kafka.only_markers(topic, at, *span)}
        if not behind:
            return
        count = sum(end - start for start, end in behind.values())
        progress(f"{who} has {count:,} offsets of {topic} still to read")
        if time.monotonic() > deadline:
            raise TransientError(
                f"{who} has {count:,} offsets of {topic} still to read: what stands there may concern the subject too. "
                "Start it, or wait longer (--wait), and run this again"
            )
        time.sleep(_PAUSE_S)
        behind = ends.behind(passed())


def _read(dsn: str, source: str, topic_id: bytes) -> dict[int, int]:
    """How far the writer has read the topic of that id."""
    rows = asyncio.run(query(dsn, "heads", [source]))
    return {row["partition"]: row["next_read_offset"] for row in rows if row["read_topic_id"] == topic_id}


def _recorded(dsn: str, topic: str, topic_id: bytes) -> dict[int, int]:
    """How far the chains have recorded the events themselves."""
    rows = asyncio.run(query(dsn, "heads", [topic]))
    return {row["partition"]: row["next_source_offset"] for row in rows if row["topic_id"] == topic_id}


class _Kafka:
    """What is asked of the broker."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._admin = admin_client(settings, "piperoll-erase")
        self._consumer = KafkaConsumer(
            **client_options(settings, "piperoll-erase"),
            isolation_level="read_committed",
            enable_auto_commit=False,
        )

    def close(self) -> None:
        self._consumer.close()
        self._admin.close()

    def topic_id(self, topic: str) -> bytes:
        found = topic_ids(self._admin, [topic])
        if topic not in found:
            raise TransientError(f"topic {topic} does not exist: `piperoll topics create` makes it")
        return found[topic]

    def ends(self, topic: str) -> Ends:
        described = self._admin.describe_topics([topic])[0]["partitions"]
        places = [TopicPartition(topic, partition["partition_index"]) for partition in described]
        first = self._admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.EARLIEST))
        end = self._admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.LATEST))
        return Ends(
            {place.partition: first[place].offset for place in places},
            {place.partition: end[place].offset for place in places},
        )

    def enriched_so_far(self) -> dict[int, int]:
        """What the enricher's group has committed of audit.events."""
        topics = self._settings.topics
        group = topics.group("enricher")
        await_coordinator(self._admin, group)
        commits = self._admin.list_group_offsets({group: None})[group]
        return {
            place.partition: commit.offset
            for place, commit in commits.items()
            if place.topic == topics.events
        }

    def only_markers(self, topic: str, partition: int, start: int, end: int) -> bool:
        """Whether nothing stands between two offsets but transaction markers and aborted messages, which nobody reads:
        known only by reading over them."""
        place = TopicPartition(topic, partition)
        self._consumer.assign([place])
        self._consumer.seek(place, start)
        deadline = time.monotonic() + _MARKERS_S
        while time.monotonic() < deadline:
            if self._consumer.poll(200, max_records=1):
                return False
            if self._consumer.position(place) >= end:
                return True
        return False


@contextmanager
def _asking(settings: KafkaSettings) -> Iterator[_Kafka]:
    kafka = _Kafka(settings)
    try:
        yield kafka
    except KafkaError as error:
        raise TransientError(f"Kafka cannot now: {error!r}; run it again") from error
    finally:
        kafka.close()
