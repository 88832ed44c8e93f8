"""Who sent an event and when it happened: source, id, event time, sequence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from schemas.commitment import producer_id
from schemas.enrichment import clean
from schemas.events import TAG_TIME_INVALID, TAG_TIME_NO_ZONE, is_reserved, parse_time
from schemas.record import ABSENT

NAME_LIMIT = 2048
"""Characters of source and id that an enrichment shows."""
TimeFrom = Literal["event", "mapped", "kafka"]
_LATEST_US = 253_402_300_800_000_000  # the year 10000
_SEQUENCE_LIMIT = 2**64
_CACHED_SOURCES = 10_000


class Source(NamedTuple):
    """What is the same for every event of a source."""

    producer_id: bytes
    shown: str
    reserved: bool


class Sources(dict[str, Source]):
    """Sources seen before: there are few of them and many events. Bounded."""

    def __missing__(self, source: str) -> Source:
        found = Source(producer_id(source), clean(source, NAME_LIMIT), is_reserved(source))
        if len(self) >= _CACHED_SOURCES:
            self.clear()
        if len(source) <= NAME_LIMIT:
            self[source] = found
        return found


def event_time(
    stated: str | None,
    mapped: Callable[[dict[str, Any]], Any] | None,
    data: dict[str, Any],
    kafka_ms: int,
    tags: list[str],
) -> tuple[int, TimeFrom]:
    """Microseconds since 1970 UTC and where they come from: the event's own time, the mapped field, or Kafka's
    timestamp (ABSENT where there is none). Appends to `tags` what was odd."""
    if stated is not None:
        try:
            moment, zoned = parse_time(stated)
        except (ValueError, OverflowError):
            tags.append(TAG_TIME_INVALID)
        else:
            if not zoned:
                tags.append(TAG_TIME_NO_ZONE)
            return moment, "event"
    if mapped is not None:
        value = mapped(data)
        if value is not None:
            found = _read(value, tags)
            if found is not None:
                return found, "mapped"
    return kafka_time(kafka_ms), "kafka"


def kafka_time(kafka_ms: int) -> int:
    """Kafka's timestamp in microseconds, ABSENT where it is none."""
    return kafka_ms * 1000 if 0 <= kafka_ms < _LATEST_US // 1000 else ABSENT


def _read(value: Any, tags: list[str]) -> int | None:
    """A time as text, or as a number (also written as text) of seconds, milliseconds or microseconds, told apart by its size."""
    if type(value) is str and value.isascii() and value.isdecimal() and 9 < len(value) <= 16:
        value = int(value)
    if type(value) is str:
        try:
            moment, zoned = parse_time(value)
        except (ValueError, OverflowError):
            tags.append(TAG_TIME_INVALID)
            return None
        if not zoned:
            tags.append(TAG_TIME_NO_ZONE)
        return moment
    if type(value) is int or type(value) is float:
        scale = 1_000_000 if abs(value) < 1e11 else 1000 if abs(value) < 1e14 else 1
        if abs(value) * scale < _LATEST_US:
            return int(value * scale)
    tags.append(TAG_TIME_INVALID)
    return None


def sequence_number(text: str | None) -> int:
    """The `sequence` extension as a number, 0 where it is none of 64 bits."""
    if text is None or len(text) > 20 or not (text.isascii() and text.isdecimal()):
        return 0
    number = int(text)
    return number if number < _SEQUENCE_LIMIT else 0
