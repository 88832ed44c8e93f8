"""Correlations that a window's end decides: fewer than, at most, other than so many.

Windows do not slide here: they stand side by side, as long as the rule's span, by event time. A window is over when all
that stood on audit.events a while after its end is counted (`LATE_MS`, or the span where that is shorter); what comes later
counts towards no window. Of empty windows, one after the other, the first is judged, if the rule groups by nothing or the
group was there in the two windows before; then the group is forgotten until it comes again. The window in which a rule first saw an event is not
judged, since nobody knows what was before. The alert's id is made of rule, group and window: however often a crash leads
to it again, it is the same.
"""

from __future__ import annotations

from collections.abc import MutableMapping

import msgspec

from services.common.alerts import Alert
from services.enricher.alerting import words
from services.enricher.rules.matches import Match, Spec

LATE_MS = 600_000
MOST_GROUPS = 20_000
_MOST_OPEN = 64
"""Windows of one group that are open at a time: where more begin, as in a backlog, the oldest are over."""
_MOST_VALUES = 40_000
_REGULAR = 2
_HOUR_MS = 3_600_000
_NEVER_MS = 1 << 62
_GROUP, _RULE = b"e|", b"r|"


class Ending(msgspec.Struct):
    """One group's open windows, by the number of spans since 1970: events, or hashes of the values. `next`: the first
    that is not judged; `full`: how many were not empty, one after the other; `marks`: the next source offset to count."""

    due_ms: int
    touched_ms: int
    spec: Spec
    subject: str
    shown: list[str]
    next: int
    full: int = 0
    counts: dict[int, int] = {}
    values: dict[int, list[str]] = {}
    marks: dict[str, int] = {}


class _Due(msgspec.Struct):
    due_ms: int
    touched_ms: int


_decode = msgspec.json.Decoder(Ending).decode
_due = msgspec.json.Decoder(_Due).decode
_encode = msgspec.json.Encoder().encode


class Endings:
    """The groups of such rules, each one entry of the alerter's table."""

    def __init__(self, table: MutableMapping[bytes, bytes]) -> None:
        self._table = table

    def take(
        self, spec: Spec, subject: str, matches: list[tuple[Match, int]], log: str, now_ms: int
    ) -> list[Alert]:
        """Counts matches of one group, each with its time in milliseconds, in the order of their offsets. Gives the
        alerts of windows that end because too many are open."""
        span_ms = spec.seconds * 1000
        matches = [(match, at_ms) for match, at_ms in matches if not _came_late(match, at_ms, span_ms)]
        if not matches:
            return []
        since = self._since(spec, matches[0][1] // span_ms)
        key = _GROUP + f"{spec.id}|{subject}".encode("utf-8", "replace")
        raw = self._table.get(key)
        if raw is None:
            begin = max(min(at_ms for _, at_ms in matches) // span_ms, since + 1)
            group = Ending(0, now_ms, spec, subject, matches[0][0].shown, begin)
        else:
            group = _decode(raw)
        mark, counted, alerts = group.marks.get(log, -1), -1, []
        for match, at_ms in matches:
            if match.offset < mark:
                continue
            number = at_ms // span_ms
            alerts += _judged(group, number - _most_open(spec))
            if number >= group.next:
                _count(group, spec, match, number, again=match.offset == counted)
            counted = match.offset
            group.marks[log] = match.offset + 1
        group.spec, group.touched_ms, group.due_ms = spec, now_ms, _due_ms(group.next, span_ms)
        self._table[key] = _encode(group)
        return alerts

    def look(self, seen_until_ms: int) -> list[Alert]:
        """The alerts of the windows that are over. `seen_until_ms`: all that stood on audit.events then is counted."""
        due = [
            key
            for key, raw in list(self._table.items())
            if key.startswith(_GROUP) and _due(raw).due_ms <= seen_until_ms
        ]
        return [alert for key in due for alert in self._close(key, seen_until_ms)]

    def forget(self, now_ms: int) -> int:
        """Drops groups that wait for nothing since an hour, and those over the limit, the oldest first: how many of
        these."""
        groups = {key: _due(raw) for key, raw in self._table.items() if key.startswith(_GROUP)}
        done = {
            key
            for key, one in groups.items()
            if one.due_ms == _NEVER_MS and one.touched_ms + _HOUR_MS < now_ms
        }
        kept = sorted(groups.keys() - done, key=lambda key: groups[key].touched_ms)
        surplus = kept[: max(0, len(kept) - MOST_GROUPS)]
        for key in [*done, *surplus]:
            del self._table[key]
        return len(surplus)

    def _since(self, spec: Spec, number: int) -> int:
        """The window in which the rule first saw an event, of whatever group."""
        key = _RULE + f"{spec.id}|{spec.seconds}".encode()
        raw = self._table.get(key)
        if raw is None:
            self._table[key] = b"%d" % number
        return number if raw is None else int(raw)

    def _close(self, key: bytes, seen_until_ms: int) -> list[Alert]:
        group = _decode(self._table[key])
        span_ms = group.spec.seconds * 1000
        alerts = _judged(group, (seen_until_ms - _late_ms(span_ms)) // span_ms)
        waits = group.full or group.counts or group.values
        group.due_ms = _due_ms(group.next, span_ms) if waits else _NEVER_MS
        self._table[key] = _encode(
            group
        )  # not deleted yet: the same counts may come again, and must find their marks
        return alerts


def _judged(group: Ending, until: int) -> list[Alert]:
    """The alerts of the windows before the one of that number, which are over. Of those that are empty, the first alone
    is looked at."""
    alerts, spec = [], group.spec
    while group.next < until:
        counted = group.values.pop(group.next, None) if spec.kind == "value_count" else None
        found = group.counts.pop(group.next, 0) if counted is None else len(counted)
        regular = not spec.group_by or group.full >= _REGULAR
        if (found or (regular and group.full)) and _met(spec, found):
            begin_ms = group.next * spec.seconds * 1000
            alerts.append(words.ended(spec, group.subject, group.shown, begin_ms, found))
        group.full = group.full + 1 if found else 0
        waiting = group.counts or group.values
        group.next = group.next + 1 if found or not waiting else min(waiting)
        if not found and not waiting:
            group.next = max(group.next, until)
    return alerts


def _count(group: Ending, spec: Spec, match: Match, number: int, *, again: bool) -> None:
    if spec.kind == "value_count":
        values = group.values.setdefault(number, [])
        if match.counted not in values and len(values) <= spec.limit:
            values.append(match.counted)
    elif not again:
        group.counts[number] = group.counts.get(number, 0) + 1


def _most_open(spec: Spec) -> int:
    """Of many values fewer: a group is one message on the state's changelog, which takes a megabyte."""
    return _MOST_OPEN if spec.kind == "event_count" else min(_MOST_OPEN, _MOST_VALUES // (spec.limit + 1))


def _came_late(match: Match, at_ms: int, span_ms: int) -> bool:
    """Whether an event reached Kafka when its window was over, also where nothing is remembered of its group any more."""
    return match.kafka_ms >= _due_ms(at_ms // span_ms, span_ms)


def _late_ms(span_ms: int) -> int:
    return min(span_ms, LATE_MS)


def _due_ms(number: int, span_ms: int) -> int:
    return (number + 1) * span_ms + _late_ms(span_ms)


def _met(spec: Spec, found: int) -> bool:
    return {"lt": found < spec.limit, "lte": found <= spec.limit, "neq": found != spec.limit}[spec.operator]
