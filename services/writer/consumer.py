"""The writer's side of Kafka: one kafka-python consumer, driven from one thread.

A partition that is assigned stays paused until `start_at` gives it its position: positions come from the chains' heads,
Kafka's committed offsets are for showing lag only. Every method blocks and belongs on the consumer's thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import (
    AuthorizationError,
    CommitFailedError,
    IllegalStateError,
    KafkaConfigurationError,
    KafkaError,
    LogTruncationError,
    OffsetOutOfRangeError,
    RebalanceInProgressError,
    SaslAuthenticationFailedError,
)
from kafka.structs import OffsetAndMetadata

from services.common.errors import ConfigurationError, TransientError
from services.common.kafka import client_options, topic_ids
from services.common.logging import get_logger
from services.common.settings import KafkaSettings
from services.writer.record_batch import install as install_reader

log = get_logger(__name__)

PARTITION_FETCH_BYTES = 512 * 1024
"""What a fetch brings of one partition, about: with 64 partitions, 32 MiB wait in memory at most."""
FETCH_BYTES = 8 * 1024 * 1024
METADATA_AGE_MS = 3000
JOIN_WAIT_MS = 30_000
BOOTSTRAP_MS = 5000
Messages = dict[TopicPartition, list[Any]]


@dataclass(slots=True)
class Polled:
    """What one poll brought. `moved`: partitions that were assigned or taken away since the poll before, or whose
    position no longer exists: what is held for them is void. `assignment`: what is ours now."""

    messages: Messages = field(default_factory=dict)
    moved: set[TopicPartition] = field(default_factory=set)
    assignment: set[TopicPartition] = field(default_factory=set)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python has no types
    """Notes what a rebalance does, within the poll that carries it out."""

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer
        self.moved: set[TopicPartition] = set()
        self.joined = False

    def on_partitions_revoked(self, revoked: Any) -> None:
        self.moved.update(revoked)

    def on_partitions_lost(self, lost: Any) -> None:
        self.moved.update(lost)

    def on_partitions_assigned(self, assigned: Any) -> None:
        self.joined = True
        self.moved.update(assigned)
        for partition in assigned:
            self._consumer.pause(partition)
            self._consumer.seek(partition, 0)  # any position: else Kafka's committed one is asked for


class Consumer:
    """Member of the writer's group for the three chained topics."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._topics = settings.topics.chained()
        options = client_options(settings, "piperoll-writer") | {"bootstrap_timeout_ms": BOOTSTRAP_MS}
        with _kafka_errors():
            self._admin = KafkaAdminClient(**options)
            self._consumer = KafkaConsumer(
                **options,
                group_id=settings.topics.group("writer"),
                isolation_level="read_committed",
                enable_auto_commit=False,
                auto_offset_reset="none",
                partition_assignment_strategy=(RangePartitionAssignor,),
                session_timeout_ms=settings.session_timeout_ms,
                heartbeat_interval_ms=min(3000, settings.session_timeout_ms // 3),
                max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
                fetch_max_bytes=FETCH_BYTES,
                metadata_max_age_ms=METADATA_AGE_MS,
                allow_auto_create_topics=False,
            )
            install_reader(self._consumer)
            self._listener = _Listener(self._consumer)
            self._consumer.subscribe(self._topics, listener=self._listener)

    @property
    def joined(self) -> bool:
        """Whether the group has given this member its share, if only an empty one."""
        return self._listener.joined

    def poll(self, wait_ms: int, most: int) -> Polled:
        """At most `most` messages of started partitions. Raises TransientError where Kafka cannot, FatalError where it will not."""
        polled = Polled()
        try:
            with _kafka_errors():
                self._finish_joining()
                polled.messages = self._consumer.poll(timeout_ms=wait_ms, max_records=most)
        except _PositionLostError as error:
            log.warning("position_lost", error=str(error))
            self._consumer.pause(*self._consumer.assignment())
            polled.moved |= self._consumer.assignment()
        polled.moved |= self._listener.moved
        self._listener.moved.clear()
        polled.assignment = self.assignment()
        return polled

    def _finish_joining(self) -> None:
        """Joins the group in one piece. kafka-python 3.0 forgets a join that is answered between two polls: where the
        metadata had changed, it then stays without partitions and without heartbeats for ever."""
        coordinator = self._consumer._coordinator  # noqa: SLF001 - nothing public tells of a join half done
        if coordinator.rejoining or coordinator.need_rejoin():
            coordinator.request_rejoin()
            coordinator.poll(timeout_ms=JOIN_WAIT_MS)

    def assignment(self) -> set[TopicPartition]:
        """What is this member's, as far as it knows."""
        return set(self._consumer.assignment())

    def topic_ids(self) -> dict[str, bytes]:
        """The present ids of the topics that the writer reads and of audit.events; deleted ones are left out."""
        with _kafka_errors():
            return topic_ids(self._admin, [*self._topics, self._settings.topics.events])

    def cluster_id(self) -> str:
        """The Kafka cluster's id."""
        with _kafka_errors():
            return str(self._admin.describe_cluster()["cluster_id"])

    def bounds(self, partitions: list[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """First offset and end of each partition's log."""
        with _kafka_errors():
            first = self._consumer.beginning_offsets(partitions)
            end = self._consumer.end_offsets(partitions)
        return {partition: (first[partition], end[partition]) for partition in partitions}

    def prove_membership(self, positions: dict[TopicPartition, int]) -> bool:
        """Commits these positions; False if the group no longer takes them from us, which a stalled member learns in
        this way before it claims a chain from its new owner."""
        try:
            with _kafka_errors():
                self._consumer.commit(_offsets(positions), timeout_ms=10_000)
        except _NotMemberError:
            return False
        return True

    def start_at(self, positions: dict[TopicPartition, int]) -> None:
        """Reads on from these positions."""
        for partition, position in positions.items():
            if partition in self._consumer.assignment():
                self._consumer.seek(partition, position)
                self._consumer.resume(partition)

    def pause(self, partitions: set[TopicPartition]) -> None:
        """Reads nothing more of these until `start_at`."""
        held = partitions & self._consumer.assignment()
        if held:
            self._consumer.pause(*held)

    def commit(self, positions: dict[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Shows in Kafka how far the chains are, where failures do no harm; returns the offsets still to come, as of
        the last fetch."""
        held = {at: position for at, position in positions.items() if at in self._consumer.assignment()}
        if not held:
            return {}
        self._consumer.commit_async(_offsets(held))
        ends = {at: self._consumer.highwater(at) for at in held}
        return {at: max(0, end - held[at]) for at, end in ends.items() if end is not None}

    def close(self) -> None:
        """Leaves the group at once, so that others take over without waiting."""
        self._consumer.close(autocommit=False, timeout_ms=5000)
        self._admin.close()


def _offsets(positions: dict[TopicPartition, int]) -> dict[TopicPartition, OffsetAndMetadata]:
    return {partition: OffsetAndMetadata(position, "", -1) for partition, position in positions.items()}


class _PositionLostError(Exception):
    """A position is outside its log, or the log was cut behind it."""


class _NotMemberError(Exception):
    """The group has gone on without us."""


class _kafka_errors:  # noqa: N801 - reads as the statement that it is
    """Kafka's errors as ours."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        if isinstance(error, OffsetOutOfRangeError | LogTruncationError):
            raise _PositionLostError(str(error)) from error
        if isinstance(error, CommitFailedError | IllegalStateError | RebalanceInProgressError):
            raise _NotMemberError(str(error)) from error
        if isinstance(error, AuthorizationError | SaslAuthenticationFailedError | KafkaConfigurationError):
            raise ConfigurationError(f"Kafka refuses this client: {error}") from error
        if isinstance(error, KafkaError):
            raise TransientError(f"Kafka cannot now: {error!r}") from error


__all__ = ["Consumer", "Messages", "Polled", "TopicPartition"]
