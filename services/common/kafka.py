"""Kafka by kafka-python: client options from the settings, topics created and checked."""

from __future__ import annotations

import ssl
from typing import Any
from uuid import UUID

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from schemas.topics import Topic, Topics
from services.common.errors import ConfigurationError, TransientError
from services.common.settings import KafkaSettings


def client_options(settings: KafkaSettings, client_id: str) -> dict[str, Any]:
    """What every kafka-python client is made with: addresses, TLS and SASL."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers.split(","),
        "client_id": client_id,
        "security_protocol": settings.security_protocol,
    }
    if settings.security_protocol.endswith("SSL"):
        options["ssl_context"] = ssl_context(settings)
    if settings.security_protocol.startswith("SASL"):
        options |= {
            "sasl_mechanism": settings.sasl_mechanism,
            "sasl_plain_username": settings.sasl_username,
            "sasl_plain_password": sasl_password(settings),
        }
    return options


def ssl_context(settings: KafkaSettings) -> ssl.SSLContext:
    """TLS with the given authority and client certificate. Raises ConfigurationError."""
    try:
        context = ssl.create_default_context(cafile=settings.ssl_cafile)
        if settings.ssl_certfile is not None:
            context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile)
    except OSError as error:
        raise ConfigurationError(
            f"KAFKA_SSL_CAFILE, KAFKA_SSL_CERTFILE or KAFKA_SSL_KEYFILE cannot be read: {error}"
        ) from error
    return context


def sasl_password(settings: KafkaSettings) -> str:
    """The SASL password. Raises ConfigurationError where it or the user name is missing."""
    if settings.sasl_username is None or settings.sasl_password is None:
        raise ConfigurationError(
            f"KAFKA_SECURITY_PROTOCOL={settings.security_protocol} needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"
        )
    return settings.sasl_password.get_secret_value()


def admin_client(settings: KafkaSettings, client_id: str) -> KafkaAdminClient:
    """An admin client; close it after use. Raises TransientError where no broker answers."""
    try:
        return KafkaAdminClient(**client_options(settings, client_id))
    except KafkaError as error:
        raise TransientError(
            f"no broker at KAFKA_BOOTSTRAP_SERVERS={settings.bootstrap_servers}: {error}"
        ) from error


def create_topics(settings: KafkaSettings) -> list[str]:
    """Creates the topics that are missing, as schemas.topics lays them out; returns their names."""
    admin = admin_client(settings, "piperoll-topics")
    try:
        existing = set(admin.list_topics())
        missing = [
            topic for topic in settings.topics.layout(settings.event_limit) if topic.name not in existing
        ]
        created = []
        for topic in missing:
            new = NewTopic(
                topic.name,
                num_partitions=topic.partitions or settings.partitions,
                replication_factor=settings.replication,
                topic_configs=topic.config,
            )
            try:
                admin.create_topics([new])
            except TopicAlreadyExistsError:
                continue  # another process was faster: the same layout
            created.append(topic.name)
    finally:
        admin.close()
    return created


def check_topics(settings: KafkaSettings) -> None:
    """Refuses topics on which events could be lost. Raises ConfigurationError, naming each topic and what to do, and
    TransientError where no broker answers."""
    layout = settings.topics.layout(settings.event_limit)
    admin = admin_client(settings, "piperoll-topic-check")
    try:
        partitions = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics()}
        names = [topic.name for topic in layout if topic.name in partitions]
        configs = _topic_configs(admin, names)
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


def _topic_configs(admin: KafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
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
