"""The sealer's side of Kafka: reads the chained topics again for the second look. Blocks; belongs on one thread.

No consumer group and no committed offsets: where to read stands in the sealer's memory.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import (
    AuthorizationError,
    KafkaConfigurationError,
    KafkaError,
    OffsetOutOfRangeError,
    SaslAuthenticationFailedError,
)

from services.common.broker_access import check_access
from services.common.errors import ConfigurationError, TransientError
from services.common.kafka import client_options, topic_ids
from services.common.settings import KafkaSettings
from services.writer.heads import GROUP, Head, read_heads
from services.writer.record_batch import install as install_reader
from services.writer.sealer.look import Look

_POLL_MS = 200
_POLL_RECORDS = 4000
_PORTION = 1000
_MOST_AHEAD = 4000
"""Messages of a partition that are kept for later rounds, about."""
_PARTITION_FETCH_BYTES = 1024 * 1024
_FETCH_BYTES = 16 * 1024 * 1024
_BOOTSTRAP_MS = 5000


@dataclass(slots=True)
class Reading:
    """One partition to be read from `start` for a look. `topic_id` is the one that the chain names. `cannot` says why
    the topic can not be compared with, where it can not."""

    at: TopicPartition
    topic_id: bytes
    start: int
    look: Look
    cannot: str = ""


class Source:
    """A consumer of the chained topics."""

    def __init__(self, settings: KafkaSettings) -> None:
        options = client_options(settings, "piperoll-sealer") | {"bootstrap_timeout_ms": _BOOTSTRAP_MS}
        check_access(settings)
        self._topics = settings.topics
        with _kafka_errors():
            self._admin = KafkaAdminClient(**options)
            self._consumer = KafkaConsumer(
                **options,
                group_id=None,
                isolation_level="read_committed",
                enable_auto_commit=False,
                auto_offset_reset="none",
                max_partition_fetch_bytes=_PARTITION_FETCH_BYTES,
                fetch_max_bytes=_FETCH_BYTES,
                allow_auto_create_topics=False,
            )
            install_reader(self._consumer)
        self._ahead: dict[TopicPartition, deque[Any]] = {}
        self._read_to: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()

    def compare(self, readings: Sequence[Reading], seconds: float) -> None:
        """Feeds the looks until each is done, or for so many seconds. Raises TransientError where Kafka is away."""
        wanted = [reading for reading in readings if not reading.look.done]
        if not wanted:
            return
        with _kafka_errors():
            open_ones = self._begin(wanted)
            until = time.monotonic() + seconds
            while self._feed(open_ones) and time.monotonic() < until:
                try:
                    polled = self._consumer.poll(timeout_ms=_POLL_MS, max_records=_POLL_RECORDS)
                except OffsetOutOfRangeError:
                    self._read_to.clear()
                    return  # retention came between; the next round sees it in the bounds
                for at, messages in polled.items():
                    self._ahead.setdefault(at, deque()).extend(messages)
                self._hold_back(open_ones)

    def _begin(self, wanted: Sequence[Reading]) -> dict[TopicPartition, tuple[Reading, int]]:
        """The partitions that can be read, each with the end of its log. Most go on where they were read to."""
        ids = topic_ids(self._admin, sorted({reading.at.topic for reading in wanted}))
        for reading in wanted:
            if ids.get(reading.at.topic) != reading.topic_id:
                reading.cannot = "the topic is gone, or was made anew"
        readings = {reading.at: reading for reading in wanted if not reading.cannot}
        if not readings:
            return {}
        known = self._consumer.assignment()
        if not set(readings) <= known:
            self._consumer.assign(sorted(known | set(readings)))
        first, ends = self._bounds(list(readings))
        opened = {}
        for at, reading in readings.items():
            if reading.start < first[at]:
                reading.cannot = f"offsets {reading.start} to {first[at] - 1} have expired from the topic"
                self._go_to(at, ends[at])
                continue
            if self._read_to.get(at) != reading.start:
                self._go_to(at, reading.start)
            opened[at] = (reading, ends[at])
        return opened

    def _go_to(self, at: TopicPartition, offset: int) -> None:
        self._consumer.seek(at, offset)
        self._ahead.pop(at, None)
        self._read_to[at] = offset

    def _feed(self, open_ones: dict[TopicPartition, tuple[Reading, int]]) -> bool:
        """Hands the looks what was fetched; what they do not need yet is kept for the next round. Whether one needs more."""
        for at in list(open_ones):
            reading, end = open_ones[at]
            ahead = self._ahead.setdefault(at, deque())
            while ahead and not reading.look.done:
                portion = [ahead.popleft() for _ in range(min(len(ahead), _PORTION))]
                taken = reading.look.take(portion)
                ahead.extendleft(reversed(portion[taken:]))
                if taken:
                    self._read_to[at] = portion[taken - 1].offset + 1
                if taken < len(portion):
                    break
            position = ahead[0].offset if ahead else self._consumer.position(at)
            reading.look.reached(position)
            if not reading.look.done and not ahead and position >= end:
                reading.look.ends_at(end)
            if reading.look.mismatch is not None:
                self._read_to.pop(at, None)  # it is looked at again from where the chain is sealed to
            if reading.look.done:
                del open_ones[at]
        return bool(open_ones)

    def _hold_back(self, open_ones: dict[TopicPartition, tuple[Reading, int]]) -> None:
        """Partitions of which enough was fetched for later are paused."""
        for at, ahead in self._ahead.items():
            full = len(ahead) >= _MOST_AHEAD and at not in open_ones
            paused = at in self._paused
            if full and not paused:
                self._consumer.pause(at)
                self._paused.add(at)
            elif paused and not full:
                self._consumer.resume(at)
                self._paused.discard(at)

    def _bounds(
        self, partitions: list[TopicPartition]
    ) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
        """First offset and end of each partition's log."""
        for topic in {at.topic for at in partitions}:
            self._consumer.partitions_for_topic(
                topic
            )  # a topic that is not in its metadata yet has no offsets for it
        try:
            return self._consumer.beginning_offsets(partitions), self._consumer.end_offsets(partitions)
        except KeyError as error:  # kafka-python's way to say that a partition has no leader it knows
            raise TransientError(f"Kafka does not tell the offsets of {error}") from error

    def heads(self) -> dict[TopicPartition, list[Head]]:
        """What writers said of their chains' ends, by the topic whose offsets a chain covers, and partition. Raises
        TransientError."""
        with _kafka_errors():
            said = read_heads(self._admin, self._topics.group(GROUP))
        sources = {self._topics.enriched: self._topics.events}
        return {
            TopicPartition(sources.get(at.topic, at.topic), at.partition): some for at, some in said.items()
        }

    def close(self) -> None:
        """Closes the clients."""
        self._consumer.close(autocommit=False)
        self._admin.close()


@contextmanager
def _kafka_errors() -> Iterator[None]:
    try:
        yield
    except (AuthorizationError, SaslAuthenticationFailedError, KafkaConfigurationError) as error:
        raise ConfigurationError(
            f"Kafka refused the sealer: {error!r}; it must be allowed to read the chained topics, and to describe "
            f"the group of the writers' heads (…-{GROUP}) and audit.enriched"
        ) from error
    except (KafkaError, OSError) as error:
        raise TransientError(f"Kafka cannot now: {error!r}") from error
