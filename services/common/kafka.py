"""Kafka by kafka-python: topics created, checked and named by their ids."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from schemas.topics import Topic, Topics
from services.common.broker_access import check_access, why_refused
from services.common.errors import ConfigurationError, TransientError
from services.common.kafka_client import client_options, sasl_password, ssl_context
from services.common.settings import KafkaSettings

__all__ = [
    "admin_client",
    "check_topics",
    "client_options",
    "create_topics",
    "sasl_password",
    "ssl_context",
    "topic_configs",
    "topic_ids",
]

_SHOWN_WITHIN_S = 30.0


def admin_client(settings: KafkaSettings, client_id: str) -> KafkaAdminClient:
    """An admin client; close it after use. Raises TransientError where no broker answers, ConfigurationError where
    one does not let us in."""
    options = client_options(settings, client_id)
    check_access(settings)
    try:
        return KafkaAdminClient(**options)
    except KafkaError as error:
        raise why_refused(settings, error) from error


def create_topics(settings: KafkaSettings) -> list[str]:
    """Creates the topics that are missing, as schemas.topics lays them out; returns their names once the broker shows
    them all. Raises TransientError."""
    admin = admin_client(settings, "piperoll-topics")
    try:
        existing = set(admin.list_topics())
        missing = [
            topic for topic in settings.topics.layout(settings.event_limit) if topic.name not in existing
        ]
        created = []
        # An ack from all replicas in sync is worth little where that may be one.
        durable = {"min.insync.replicas": str(2 if settings.replication >= 3 else 1)}
        for topic in missing:
            new = NewTopic(
                topic.name,
                num_partitions=topic.partitions or settings.partitions,
                replication_factor=settings.replication,
                topic_configs=topic.config | durable,
            )
            try:
                admin.create_topics([new])
            except TopicAlreadyExistsError:
                continue  # another process was faster: the same layout
            created.append(topic.name)
        _await_shown(admin, {topic.name for topic in missing})
    finally:
        admin.close()
    return created


def _await_shown(admin: KafkaAdminClient, names: set[str]) -> None:
    """A broker acknowledges a topic a little before it shows it: a service that starts in between would take it for
    missing and end. Raises TransientError."""
    deadline = time.monotonic() + _SHOWN_WITHIN_S
    while names:
        shown = {topic["name"] for topic in admin.describe_topics() if _is_led(topic)}
        if names <= shown:
            return
        if time.monotonic() > deadline:
            missing = ", ".join(sorted(names - shown))
            raise TransientError(
                f"the broker took these topics and does not show them yet: {missing}; try again"
            )
        time.sleep(0.1)


def _is_led(topic: dict[str, Any]) -> bool:
    return all(partition["leader_id"] >= 0 for partition in topic["partitions"])


def check_topics(settings: KafkaSettings) -> None:
    """Refuses topics on which events could be lost. Raises ConfigurationError, naming each topic and what to do, and
    TransientError where no broker answers."""
    layout = settings.topics.layout(settings.event_limit)
    admin = admin_client(settings, "piperoll-topic-check")
    try:
        partitions = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics()}
        names = [topic.name for topic in layout if topic.name in partitions]
        configs = topic_configs(admin, names)
    except KafkaError as error:
        raise TransientError(f"the topics cannot be looked at: {error}") from error
    finally:
        admin.close()
    problems = [
        f"topic {topic.name} does not exist: `piperoll topics create` makes it"
        for topic in layout
        if topic.name not in partitions
    ]
    for topic in layout:
        if topic.name in partitions:
            problems += _problems(topic, configs[topic.name])
    problems += _uneven(settings.topics, partitions)
    if problems:
        raise ConfigurationError("; ".join(problems))


def topic_configs(admin: KafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    """The configuration of topics, by name."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    found = admin.describe_configs(resources)
    return {
        name: {key: entry["value"] if isinstance(entry, dict) else entry for key, entry in configs.items()}
        for name, configs in found["topic"].items()
    }


def _problems(topic: Topic, config: dict[str, str]) -> list[str]:
    problems = []
    policy = config.get("cleanup.policy", "")
    if "compact" in policy and topic.config["cleanup.policy"] != "compact":
        problems.append(f"topic {topic.name} is compacted, which drops events: set cleanup.policy=delete")
    if topic.config["cleanup.policy"] == "compact" and "compact" not in policy:
        problems.append(f"topic {topic.name} forgets what is still needed: set cleanup.policy=compact")
    wanted = int(topic.config.get("max.message.bytes", 0))
    if int(config.get("max.message.bytes", wanted)) < wanted:
        problems.append(
            f"topic {topic.name} takes only {config['max.message.bytes']} bytes: set max.message.bytes={wanted}"
        )
    return problems


def _uneven(topics: Topics, partitions: dict[str, int]) -> list[str]:
    wanted = partitions.get(topics.events)
    following = (topics.enriched, topics.annotations, topics.dead_letters)
    return [
        f"topic {name} has {partitions[name]} partitions, {topics.events} has {wanted}: `piperoll topics grow {wanted}`"
        for name in following
        if name in partitions and wanted is not None and partitions[name] < wanted
    ]


def topic_ids(admin: KafkaAdminClient, names: list[str]) -> dict[str, bytes]:
    """The 16-byte topic ids by name; topics that do not exist are left out."""
    found = {}
    for topic in admin.describe_topics(names):
        raw = topic["topic_id"]
        if topic.get("error_code"):
            continue
        found[topic["name"]] = raw.bytes if isinstance(raw, UUID) else UUID(str(raw)).bytes
    return found
