"""The committed offsets of the enricher's group: read, and set while no enricher runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import GroupIdNotFoundError, KafkaError
from kafka.structs import OffsetAndMetadata

from schemas.topics import Topics
from services.cli.holes import Log, Rewind, TopicIds
from services.common.errors import ConfigurationError, TransientError
from services.common.kafka import admin_client, topic_ids
from services.common.settings import KafkaSettings

_COORDINATOR_S = 10.0
_WITHOUT_MEMBERS = ("Empty", "Dead")


class EnricherGroup:
    """The group, as an admin client sees it."""

    def __init__(self, admin: KafkaAdminClient, topics: Topics) -> None:
        self.name = topics.group("enricher")
        self._admin = admin
        self._topics = topics

    def ids(self) -> TopicIds:
        """Raises ConfigurationError where a topic does not exist."""
        found = topic_ids(self._admin, [self._topics.events, self._topics.enriched])
        for name in (self._topics.events, self._topics.enriched):
            if name not in found:
                raise ConfigurationError(f"topic {name} does not exist: `piperoll topics create` makes it")
        return TopicIds(found[self._topics.events], found[self._topics.enriched])

    def logs(self) -> list[Log]:
        """Every partition of audit.events, in order."""
        described = self._admin.describe_topics([self._topics.events])[0]["partitions"]
        numbers = sorted(partition["partition_index"] for partition in described)
        events = {number: TopicPartition(self._topics.events, number) for number in numbers}
        enriched = {number: TopicPartition(self._topics.enriched, number) for number in numbers}
        first = self._admin.list_partition_offsets(dict.fromkeys(events.values(), OffsetSpec.EARLIEST))
        end = self._admin.list_partition_offsets(dict.fromkeys(enriched.values(), OffsetSpec.LATEST))
        commits = self._admin.list_group_offsets({self.name: None})[self.name]
        logs = []
        for number in numbers:
            commit = commits.get(events[number])
            known = commit is not None and commit.offset >= 0
            logs.append(
                Log(
                    number,
                    first[events[number]].offset,
                    commit.offset if known else None,
                    (commit.metadata or "") if known else "",
                    end[enriched[number]].offset,
                )
            )
        return logs

    def require_no_members(self) -> None:
        """Raises TransientError while an enricher is in the group, or was until lately."""
        found = self._admin.describe_groups([self.name])[self.name]
        if found["group_state"] not in _WITHOUT_MEMBERS:
            raise TransientError(
                f"{len(found['members'])} enrichers are in the group {self.name} ({found['group_state']}): stop them "
                "first; one that was killed leaves when its session ends (KAFKA_SESSION_TIMEOUT_MS)"
            )

    def set(self, rewinds: Sequence[Rewind], topic_id: bytes) -> None:
        """Commits the offsets, each with the topic id by which the enricher knows that they are of this topic. Raises
        TransientError."""
        commits = {
            TopicPartition(self._topics.events, rewind.partition): OffsetAndMetadata(
                rewind.offset, topic_id.hex(), -1
            )
            for rewind in rewinds
        }
        outcomes = self._admin.alter_group_offsets(self.name, commits)
        refused = [
            f"{place.partition}: {error.__name__}"
            for place, error in outcomes.items()
            if getattr(error, "errno", 0) != 0
        ]
        if refused:
            raise TransientError(
                f"the group {self.name} did not take partition {', '.join(refused)}; run it again"
            )


def await_coordinator(admin: KafkaAdminClient, name: str) -> None:
    """A broker that has never had a group makes its topic for them first, and one that starts loads it."""
    deadline = time.monotonic() + _COORDINATOR_S
    while True:
        try:
            admin.describe_groups([name])
        except KafkaError as error:
            if not error.retriable or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def delete_group(settings: KafkaSettings, name: str) -> None:
    """Deletes a group that has no members; one that is not there is as good as deleted. Raises TransientError."""
    admin = admin_client(settings, "piperoll-groups")
    try:
        await_coordinator(admin, name)
        outcome = admin.delete_groups([name])[name]
    except KafkaError as error:
        raise TransientError(f"Kafka cannot now: {error!r}; run it again") from error
    finally:
        admin.close()
    if getattr(outcome, "errno", 0) not in (0, GroupIdNotFoundError.errno):
        raise TransientError(f"the group {name} is not deleted: {getattr(outcome, '__name__', outcome)}")


@contextmanager
def open_group(settings: KafkaSettings) -> Iterator[EnricherGroup]:
    """Closes its client at the end. Raises TransientError and ConfigurationError."""
    admin = admin_client(settings, "piperoll-replay")
    try:
        group = EnricherGroup(admin, settings.topics)
        await_coordinator(admin, group.name)
        yield group
    except KafkaError as error:
        raise TransientError(f"Kafka cannot now: {error!r}; run it again") from error
    finally:
        admin.close()
