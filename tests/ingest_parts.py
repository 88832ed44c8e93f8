"""What the tests of ingest stand on: an ingest with topics of its own, what it put on them, an enricher's part."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from deploy.local.ports import free_port
from schemas.topics import REPLY_HEADER
from services.common.kafka import client_options, create_topics
from services.common.settings import KafkaSettings
from tests.service_process import ServiceProcess

EXPORT = {
    "user_id": 42,
    "dataset_id": "ds-99",
    "export_time": "2026-05-01T12:00:00Z",
    "export_reason": "request",
}
SHORT = {"event_type": "data_export", "event_data": EXPORT}
EVENT = {"specversion": "1.0", "id": "1", "source": "/app", "type": "t"}
LINES = {"Content-Type": "application/x-ndjson"}
STRUCTURED = {"Content-Type": "application/cloudevents+json"}
BATCH = {"Content-Type": "application/cloudevents-batch+json"}


def topics_on(broker: str) -> KafkaSettings:
    """Settings with a topic prefix of their own, the topics made."""
    kafka = KafkaSettings(bootstrap_servers=broker, topic_prefix=f"t{uuid4().hex[:10]}", partitions=3)
    create_topics(kafka)
    return kafka


class Ingest:
    """A running ingest, a client for it, and what is on its topics."""

    def __init__(self, service: ServiceProcess, kafka: KafkaSettings) -> None:
        self.service = service
        self.kafka = kafka
        self.client = httpx.Client(base_url=service.url, timeout=30, verify=False)
        self.documented: dict[str, set[str]] | None = None

    def post(self, path: str, **request: Any) -> httpx.Response:
        """Each answer must be one that the OpenAPI document knows."""
        answer = self.client.post(path, **request)
        if self.documented is None:
            paths = self.client.get("/openapi.json").json()["paths"]
            self.documented = {p: set(paths[p]["post"]["responses"]) for p in ("/audit", "/v1/events")}
        assert str(answer.status_code) in self.documented[path.partition("?")[0]]
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            problem = answer.json()
            assert (problem["status"], bool(problem["title"]), bool(problem["detail"])) == (
                answer.status_code,
                True,
                True,
            )
        return answer

    def metric(self, name: str) -> float:
        for line in self.client.get("/metrics").text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        raise AssertionError(f"no metric {name}")

    def messages(self) -> list[Any]:
        """All that is on audit.events now."""
        return messages(self.kafka, self.kafka.topics.events)

    def ids(self) -> list[str]:
        """The ids of all structured events there."""
        return [json.loads(message.value)["id"] for message in self.messages()]


@contextmanager
def ingest_on(
    kafka: KafkaSettings, folder: Path, *, ready: bool = True, **variables: str
) -> Iterator[Ingest]:
    """An ingest for as long as the context lasts."""
    port = str(free_port())
    settings = {
        "HEALTH_PORT": port,
        "INGEST_PORT": port,
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "TOPIC_PREFIX": kafka.topic_prefix,
    }
    service = ServiceProcess("ingest", (), settings | variables, folder / f"ingest-{port}.log")
    ingest = Ingest(service, kafka)
    try:
        if ready:
            service.wait_ready()
        yield ingest
    finally:
        ingest.client.close()
        service.end()


def messages(kafka: KafkaSettings, topic: str) -> list[Any]:
    """All messages of a topic up to its present end, by partition and offset."""
    consumer = KafkaConsumer(**client_options(kafka, "tests"), enable_auto_commit=False)
    try:
        partitions = [
            TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic))
        ]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        found: list[Any] = []
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            for batch in consumer.poll(timeout_ms=200).values():
                found += batch
    finally:
        consumer.close()
    return sorted(found, key=lambda message: (message.partition, message.offset))


@contextmanager
def answering(
    kafka: KafkaSettings, replies: Callable[[dict[str, Any]], list[dict[str, Any]]]
) -> Iterator[None]:
    """Plays the enricher: for each event that carries a token, what `replies` gives is sent to audit.replies."""
    stop = threading.Event()
    consumer = KafkaConsumer(**client_options(kafka, "tests"), enable_auto_commit=False)
    topic = kafka.topics.events
    partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic))]
    consumer.assign(partitions)
    consumer.seek_to_end(*partitions)
    for partition in partitions:
        consumer.position(partition)
    producer = KafkaProducer(**client_options(kafka, "tests"))

    def follow() -> None:
        while not stop.is_set():
            for batch in consumer.poll(timeout_ms=50).values():
                for message in batch:
                    token = dict(message.headers).get(REPLY_HEADER)
                    if token is not None:
                        event = json.loads(message.value)
                        for reply in replies(event):
                            content = {"token": token.decode(), "id": event["id"]} | reply
                            producer.send(kafka.topics.replies, json.dumps(content).encode(), key=token)
                        producer.flush()

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        consumer.close()
        producer.close()


def until(check: Callable[[], Any], seconds: float = 15.0) -> Any:
    """Waits until `check` gives something true, and returns it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = check()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {check}")
