"""Matches: that an event counts towards a correlation, noted by the enricher and counted by the alerter."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

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
    """What the alerter must know of a correlation. `least`: how many events, values or rules within `seconds`."""

    id: str
    title: str
    level: str
    kind: str
    seconds: int
    least: int
    group_by: list[str]


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


class Matcher:
    """Notes matches until they are taken, by partition. An event that lacks a field to group by, or the value that is
    counted, is in no group and does not count."""

    def __init__(self, correlations: Correlations) -> None:
        self.by_rule = correlations.by_rule
        self.specs = {_id(one): _spec(one) for one in correlations.running}
        self._readers: dict[tuple[str, str], Reader] = {}

    def of(
        self, log_source: str, fields: Fields, rules: Iterable[str], data: dict[str, Any], event: Event
    ) -> list[tuple[str, int, str, list[str], str]]:
        """(correlation, number, group, shown, counted) of the rules, by id, that an event hit."""
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
                shown = [neutral(text, _SHOWN) for text in texts]
                found.append(
                    (
                        _id(part.correlation),
                        part.number,
                        _hash(texts),
                        shown,
                        "" if counted is None else _hash([counted]),
                    )
                )
        return found

    def _read(
        self, log_source: str, fields: Fields, name: str, data: dict[str, Any], event: Event
    ) -> str | None:
        reader = self._readers.get((log_source, name))
        if reader is None:
            reader = self._readers[log_source, name] = fields.reader(name)
        return plain(reader(data, event), _VALUE_LIMIT)


def _id(one: Windowed) -> str:
    return neutral(one.id, _NAME_LIMIT)


def _spec(one: Windowed) -> Spec:
    title = neutral(one.title, _TITLE_LIMIT)
    return Spec(_id(one), title, one.level, one.kind, one.seconds, one.least, list(one.group_by))


def _hash(texts: list[str]) -> str:
    return sha256("\0".join(texts).encode("utf-8", "replace")).hexdigest()[:16]


__all__ = ["Match", "Matcher", "Part", "Spec"]
