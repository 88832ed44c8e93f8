"""Matches: that an event counts towards a correlation, noted by the enricher and counted by the alerter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from schemas.events import Event
from schemas.text import neutral, plain
from services.enricher.rules.fields import Fields, Reader
from services.enricher.rules.windowed import Correlations, Part, Windowed

_VALUE_LIMIT = 4096
_SHOWN = 100
_NAME_LIMIT = 64
_TITLE_LIMIT = 100


class Spec(msgspec.Struct, array_like=True, frozen=True):
    """What the alerter must know of a correlation. `least`: how many events, values or rules within `seconds`; where
    the end of a window decides, `operator` and `limit`. `depth`: 0, or how many correlations it stands above."""

    id: str
    title: str
    level: str
    kind: str
    seconds: int
    least: int
    group_by: list[str]
    operator: str = "gte"
    limit: int = 0
    depth: int = 0


class Above(msgspec.Struct, array_like=True, frozen=True):
    """Once the correlation `by` is complete, its last event counts towards the correlation `rule`: see Match."""

    by: str
    rule: str
    number: int
    group: str
    shown: list[str]
    counted: str


class Match(msgspec.Struct, array_like=True):
    """An event at `offset` counts towards the correlation `rule`, as its rule of that `number`, in the group whose values
    hash to `group` (16 hex digits; `shown`: the values, cut). `counted`: hash of the value that is counted, or empty.
    `at_us`, `kafka_ms`: the event's and Kafka's time."""

    rule: str
    number: int
    offset: int
    at_us: int
    kafka_ms: int
    group: str
    shown: list[str]
    counted: str
    backfill: str = ""
    above: list[Above] = []


class Found(NamedTuple):
    """What an event means to one correlation: see Match."""

    rule: str
    number: int
    group: str
    shown: list[str]
    counted: str
    above: list[Above]


class Matcher:
    """Notes matches until they are taken, by partition. An event that lacks a field to group by, or the value that is
    counted, is in no group and does not count."""

    def __init__(self, correlations: Correlations) -> None:
        self.by_rule = correlations.by_rule
        self._above = correlations.above
        self.specs = {_id(one): _spec(one, correlations.depths[one.id]) for one in correlations.running}
        self._readers: dict[tuple[str, str], Reader] = {}

    def of(
        self, log_source: str, fields: Fields, rules: Iterable[str], data: dict[str, Any], event: Event
    ) -> list[Found]:
        """What the rules, by id, that an event hit mean to correlations."""
        found = []
        for rule in rules:
            for part in self.by_rule.get(rule, ()):
                values = [self._read(log_source, fields, name, data, event) for name in part.group]
                counted = None
                if part.counted is not None:
                    counted = self._read(log_source, fields, part.counted, data, event)
                if None in values or (part.counted is not None and counted is None):
                    continue
                texts = [value or "" for value in values]
                above = list(self._higher(part.correlation, texts)) if self._above else []
                found.append(
                    Found(
                        _id(part.correlation),
                        part.number,
                        _hash(texts),
                        _shown(texts),
                        "" if counted is None else _hash([counted]),
                        above,
                    )
                )
        return found

    def _higher(self, one: Windowed, texts: list[str]) -> Iterator[Above]:
        """What stands above a correlation, by the values that it groups by."""
        known = dict(zip(one.group_by, texts, strict=True))
        for part in self._above.get(one.id, ()):
            values = [known[name] for name in part.group]
            counted = "" if part.counted is None else _hash([known[part.counted]])
            yield Above(_id(one), _id(part.correlation), part.number, _hash(values), _shown(values), counted)
            yield from self._higher(part.correlation, values)

    def _read(
        self, log_source: str, fields: Fields, name: str, data: dict[str, Any], event: Event
    ) -> str | None:
        reader = self._readers.get((log_source, name))
        if reader is None:
            reader = self._readers[log_source, name] = fields.reader(name)
        return plain(reader(data, event), _VALUE_LIMIT)


def _id(one: Windowed) -> str:
    return neutral(one.id, _NAME_LIMIT)


def _shown(texts: list[str]) -> list[str]:
    return [neutral(text, _SHOWN) for text in texts]


def _spec(one: Windowed, depth: int) -> Spec:
    title, group_by = neutral(one.title, _TITLE_LIMIT), list(one.group_by)
    limit = int(one.limit or 0)
    return Spec(
        _id(one),
        title,
        one.level,
        one.kind,
        one.seconds,
        one.least,
        group_by,
        one.operator or "gte",
        limit,
        depth,
    )


def _hash(texts: list[str]) -> str:
    return sha256("\0".join(texts).encode("utf-8", "replace")).hexdigest()[:16]


__all__ = ["Above", "Match", "Matcher", "Part", "Spec"]
