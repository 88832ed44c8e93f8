"""Dead letters: read from audit.dead-letters, and put together again as the events that they were."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from schemas.topics import ORIGIN_HEADER, REASON_HEADER, REPLAYS_HEADER
from services.common.broker_access import check_access, why_refused
from services.common.errors import TransientError
from services.common.kafka_client import client_options
from services.common.settings import KafkaSettings

_POLL_MS = 500
_SILENCE_S = 30.0
Headers = list[tuple[str, bytes | None]]


class Origin(NamedTuple):
    """Where the event stands in audit.events."""

    topic_id: bytes
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic_id.hex()}/{self.partition}/{self.offset}"


class DeadLetter(NamedTuple):
    """An event that could not be taken, without the enricher's two headers. `value` None: it was over the size limit,
    or had none; either way it stands only in audit.events."""

    origin: Origin
    reason: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int

    @property
    def replays(self) -> str | None:
        """The origin of the dead letter that this one was sent again for, None if it is none."""
        found = [content for name, content in self.headers if name == REPLAYS_HEADER]
        return (found[-1] or b"").decode("utf-8", "replace") if found else None


class EventGoneError(Exception):
    """The event no longer stands in audit.events; the text says why."""


def read_letter(message: Any) -> DeadLetter | None:
    """A message of audit.dead-letters; None where it is not the enricher's."""
    if len(message.headers) < 2:
        return None
    (reason_name, reason), (origin_name, origin_text) = message.headers[-2:]
    origin = _origin(origin_text)
    if (reason_name, origin_name) != (REASON_HEADER, ORIGIN_HEADER) or origin is None:
        return None
    headers = list(message.headers[:-2])
    said = (reason or b"").decode("utf-8", "replace")
    return DeadLetter(origin, said, message.key, message.value, headers, message.timestamp)


def _origin(text: bytes | None) -> Origin | None:
    try:
        topic_id, partition, offset = (text or b"").decode("ascii").split("/")
        found = Origin(bytes.fromhex(topic_id), int(partition), int(offset))
    except ValueError:
        return None
    return found if len(found.topic_id) == 16 else None


class Reader:
    """A consumer without a group, for all of one topic or for single messages."""

    def __init__(self, consumer: KafkaConsumer, settings: KafkaSettings) -> None:
        self._consumer = consumer
        self._topics = settings.topics

    def letters(self) -> Iterator[DeadLetter | None]:
        """All that stand in audit.dead-letters now, each origin once; None for what is not the enricher's."""
        seen = set()
        for message in self.messages(self._topics.dead_letters):
            letter = read_letter(message)
            if letter is None or letter.origin not in seen:
                yield letter
            if letter is not None:
                seen.add(letter.origin)

    def event(self, origin: Origin) -> Any:
        """The message of audit.events that stands there. Raises EventGoneError."""
        place = TopicPartition(self._topics.events, origin.partition)
        self._consumer.assign([place])
        if not self._consumer.beginning_offsets([place])[place] <= origin.offset:
            raise EventGoneError("it has expired in audit.events")
        if origin.offset >= self._consumer.end_offsets([place])[place]:
            raise EventGoneError("it does not stand in audit.events")
        self._consumer.seek(place, origin.offset)
        message = self._next(lambda: True)[0]
        if message.offset != origin.offset:
            raise EventGoneError("it no longer stands in audit.events")
        return message

    def messages(self, topic: str) -> Iterator[Any]:
        """All that stand in a topic now, partition by partition in their order."""
        numbers = self._consumer.partitions_for_topic(topic) or set()
        places = [TopicPartition(topic, number) for number in sorted(numbers)]
        self._consumer.assign(places)
        self._consumer.seek_to_beginning(*places)
        ends = self._consumer.end_offsets(places)

        def unread() -> bool:
            return any(self._consumer.position(place) < ends[place] for place in places)

        while places and unread():
            yield from self._next(unread)

    def _next(self, wanted: Callable[[], bool]) -> list[Any]:
        """Some messages; none only where `wanted` has become false. Raises TransientError after a long silence."""
        deadline = time.monotonic() + _SILENCE_S
        while wanted():
            found = [message for some in self._consumer.poll(_POLL_MS).values() for message in some]
            if found:
                return found
            if time.monotonic() > deadline:
                raise TransientError(f"Kafka has sent nothing for {_SILENCE_S:.0f} s; run it again")
        return []

    @classmethod
    @contextmanager
    def open(cls, settings: KafkaSettings) -> Iterator[Self]:
        """Closes its client at the end. Raises TransientError and ConfigurationError."""
        check_access(settings)
        try:
            consumer = KafkaConsumer(
                **client_options(settings, "piperoll-replay"),
                group_id=None,
                enable_auto_commit=False,
                isolation_level="read_committed",
            )
        except KafkaError as error:
            raise why_refused(settings, error) from error
        try:
            yield cls(consumer, settings)
        except KafkaError as error:
            raise TransientError(f"Kafka cannot now: {error!r}; run it again") from error
        finally:
            consumer.close()
