"""Messages into a topic, each accounted for: where it stands, or why it does not."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError

from services.common.broker_access import check_access, why_refused
from services.common.kafka import client_options
from services.common.settings import KafkaSettings

WINDOW_BYTES = 32 * 1024 * 1024
"""Bytes handed over and not acknowledged: kafka-python itself has no limit."""
_FRAMING = 4096
_ACK_TIMEOUT_S = 60


class Outgoing(NamedTuple):
    """A message before it is sent."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


class Place(NamedTuple):
    """Where the broker has put a message, durably."""

    partition: int
    offset: int


Outcome = Place | str
"""A place, or the reason why the message was not acknowledged."""


@contextmanager
def open_producer(settings: KafkaSettings, client_id: str) -> Iterator[KafkaProducer]:
    """A producer that waits for all replicas and never writes a message twice. Raises TransientError, and
    ConfigurationError where the broker does not let us in."""
    check_access(settings)
    try:
        producer = KafkaProducer(
            **client_options(settings, client_id),
            acks="all",
            enable_idempotence=True,
            batch_size=256 * 1024,
            linger_ms=20,
            max_request_size=settings.event_limit + _FRAMING,
        )
    except KafkaError as error:
        raise why_refused(settings, error) from error
    try:
        yield producer
    finally:
        producer.close(timeout=5)


def send_all(
    producer: KafkaProducer,
    topic: str,
    messages: Iterable[Outgoing],
    progress: Callable[[int], None] = lambda _count: None,
) -> list[Outcome]:
    """Sends the messages in their order and waits for every acknowledgement; outcomes in the same order. `progress`
    is told how many are acknowledged."""
    outcomes: list[Outcome] = []
    waiting: deque[tuple[Any, int]] = deque()
    held = 0

    def settle() -> int:
        sent, size = waiting.popleft()
        outcomes.append(_outcome(sent))
        if not len(outcomes) % 500:
            progress(len(outcomes))
        return size

    for message in messages:
        size = 200 + len(message.key or b"") + len(message.value or b"")
        while waiting and held + size > WINDOW_BYTES:
            held -= settle()
        waiting.append((_send(producer, topic, message), size))
        held += size
        while waiting and _done(waiting[0][0]):
            held -= settle()
    with suppress(KafkaTimeoutError):  # each future says so for itself
        producer.flush(timeout=_ACK_TIMEOUT_S)
    while waiting:
        settle()
    progress(len(outcomes))
    return outcomes


def _send(producer: KafkaProducer, topic: str, message: Outgoing) -> Any:
    """A future, or the reason why the producer did not even take the message."""
    try:
        return producer.send(topic, key=message.key, value=message.value, headers=message.headers)
    except KafkaError as error:
        return _reason(error)


def _done(sent: Any) -> bool:
    return isinstance(sent, str) or bool(sent.is_done)


def _outcome(sent: Any) -> Outcome:
    if isinstance(sent, str):
        return sent
    try:
        found = sent.get(timeout=_ACK_TIMEOUT_S)
    except KafkaError as error:
        return _reason(error)
    return Place(found.partition, found.offset)


def _reason(error: KafkaError) -> str:
    return f"{type(error).__name__}: {error}"
