"""Dead letters sent again to audit.events: as they were, with a header that names where they stood."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from kafka import KafkaProducer
from kafka.errors import KafkaError

from schemas.topics import REPLAYS_HEADER
from services.cli.dead_letters import DeadLetter, EventGoneError, Origin
from services.cli.producing import Place

_ACK_TIMEOUT_S = 60


class Resent(NamedTuple):
    """What became of a dead letter: where it stands now, or why it was not sent."""

    origin: Origin
    outcome: Place | str


def resend(
    letters: Iterable[DeadLetter],
    read_again: Callable[[Origin], Any],
    producer: KafkaProducer,
    topic: str,
    topic_id: bytes,
    event_limit: int,
) -> list[Resent]:
    """Sends them one after another, each to the partition where it stood, and waits for every acknowledgement.

    `topic_id`: the present one of audit.events; `event_limit`: bytes over which the enricher would refuse it again.
    Kafka's timestamp is that of now: a segment with nothing but old ones would be deleted before it is read.
    """
    resent = []
    for letter in letters:
        outcome: Place | str
        try:
            key, value, headers = _whole(letter, read_again, topic_id)
        except EventGoneError as error:
            outcome = str(error)
        else:
            headers = [*headers, (REPLAYS_HEADER, str(letter.origin).encode())]
            outcome = _too_large(key, value, headers, event_limit) or _send(
                producer, topic, letter.origin.partition, key, value, headers
            )
        resent.append(Resent(letter.origin, outcome))
    return resent


def _whole(letter: DeadLetter, read_again: Callable[[Origin], Any], topic_id: bytes) -> tuple[Any, Any, Any]:
    if letter.value is not None:
        return letter.key, letter.value, letter.headers
    if letter.origin.topic_id != topic_id:
        raise EventGoneError("audit.events was deleted and made anew since")
    message = read_again(letter.origin)
    return message.key, message.value, message.headers


def _too_large(key: bytes | None, value: bytes | None, headers: Any, limit: int) -> str | None:
    size = len(key or b"") + len(value or b"")
    size += sum(len(name.encode()) + len(content or b"") for name, content in headers)
    if size <= limit:
        return None
    return f"{size:,} bytes, and EVENT_MAX_BYTES={limit} here: raise it, for the enricher and the topics too"


def _send(
    producer: KafkaProducer, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Any
) -> Place | str:
    try:
        sent = producer.send(topic, key=key, value=value, headers=headers, partition=partition)
        producer.flush(timeout=_ACK_TIMEOUT_S)
        found = sent.get(timeout=_ACK_TIMEOUT_S)
    except KafkaError as error:
        return f"{type(error).__name__}: {error}"
    return Place(found.partition, found.offset)
