"""The sealer's side of Kafka: reads the chained topics again for the second look. Blocks; belongs on one thread.

No consumer group and no committed offsets: where to read stands in the sealer's memory.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

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
from services.writer.record_batch import install as install_reader
from services.writer.sealer.look import Look

_POLL_MS = 200
_POLL_RECORDS = 4000
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
        self._positioned: set[TopicPartition] = set()

    def compare(self, readings: Sequence[Reading], seconds: float) -> None:
        """Feeds the looks until each is done, or for so many seconds. Raises TransientError where Kafka is away."""
        wanted = [reading for reading in readings if not reading.look.done]
        if not wanted:
            return
        with _kafka_errors():
            open_ones = self._begin(wanted)
            until = time.monotonic() + seconds
            while open_ones and time.monotonic() < until:
                try:
                    polled = self._consumer.poll(timeout_ms=_POLL_MS, max_records=_POLL_RECORDS)
                except OffsetOutOfRangeError:
                    return  # retention came between; the next round sees it in the bounds
                for at, messages in polled.items():
                    if at in open_ones:
                        open_ones[at][0].look.take(messages)
                for at in list(open_ones):
                    if self._is_read(at, *open_ones[at]):
                        del open_ones[at]
                        self._consumer.pause(at)

    def _begin(self, wanted: Sequence[Reading]) -> dict[TopicPartition, tuple[Reading, int]]:
        """The partitions that can be read, each with the end of its log, sought to where its reading starts."""
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
                continue
            self._consumer.seek(at, reading.start)
            self._consumer.resume(at)
            opened[at] = (reading, ends[at])
        others = self._consumer.assignment() - set(opened)
        if others:
            self._consumer.pause(*others)
            for at in others - self._positioned:
                self._consumer.seek(at, 0)  # any position: else the broker is asked for one
        self._positioned = self._consumer.assignment()
        return opened

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

    def _is_read(self, at: TopicPartition, reading: Reading, end: int) -> bool:
        """Whether a look needs no more of its partition."""
        position = self._consumer.position(at)
        reading.look.reached(position)
        if not reading.look.done and position >= end:
            reading.look.ends_at(end)
        return reading.look.done

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
            f"Kafka refused the sealer: {error!r}; it must be allowed to read the chained topics"
        ) from error
    except (KafkaError, OSError) as error:
        raise TransientError(f"Kafka cannot now: {error!r}") from error
