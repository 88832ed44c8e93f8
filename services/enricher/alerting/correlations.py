"""Sigma's correlation rules: a window of event time slides over the events of each group.

A group remembers no more than it takes to decide: the latest times of so many events, values or rules as the rule asks
for, each event once by its offset. When it has raised its alert it begins anew, and is quiet until as long as the rule's
span has passed: one alert for each span. The alert's id is that of the event that completed it, so that a crash which
leads to it again leads to the same one. Pure but for the state.

Where a correlation counts another one, the event that completes the one counts towards the other, in the same step; the
state of the other is made durable first (`state.in_order`), so that a crash between the two leads to the same again.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Collection

import msgspec

from services.common.alerts import Alert
from services.enricher.alerting import words
from services.enricher.alerting.closing import Endings
from services.enricher.alerting.state import State
from services.enricher.counts import Counts
from services.enricher.rules.matches import Match, Spec
from services.enricher.rules.windowed import CLOSING, MOST_COUNTED, MOST_DEPTH

_LATEST = 32
"""Times remembered of each rule of a temporal correlation."""
_SLOTS = 60
"""Where a rule asks for more than MOST_COUNTED events, its window slides in so many steps."""


class Group(msgspec.Struct):
    """What is remembered of one group. `times`: of events, or of each value's or rule's latest, in milliseconds;
    `slots`: of many events, how many came in each sixtieth of the span;
    `quiet_until_ms`: event time before which nothing counts; `marks`: the next source offset to count, by log."""

    seconds: int = 0
    touched_ms: int = 0
    quiet_until_ms: int = 0
    times: list[int] = []
    slots: dict[int, int] = {}
    values: dict[str, int] = {}
    parts: dict[str, list[int]] = {}
    marks: dict[str, int] = {}


_decode = msgspec.json.Decoder(Group).decode
_encode = msgspec.json.Encoder().encode


class Correlator:
    """Takes the matches of counts in the order of their log. `time_of` gives the milliseconds at which an event counts:
    (event time in microseconds, Kafka's in milliseconds, counts)."""

    def __init__(self, state: State, time_of: Callable[[int, int, Counts], int], endings: Endings) -> None:
        self._state = state
        self._time_of = time_of
        self._endings = endings

    def take(self, counts: Counts, declared: Collection[str], log: str) -> list[Alert]:
        """The alerts to which these matches lead. Events of a declared back-fill are a group of their own."""
        todo, alerts = list(counts.matches), []
        for depth in range(MOST_DEPTH):
            groups: dict[tuple[str, str], list[Match]] = {}
            for match in todo:
                backfill = f"|{match.backfill}" if match.backfill in declared else ""
                groups.setdefault((match.rule, f"{match.group}{backfill}"), []).append(match)
            todo = []
            for (rule, subject), matches in groups.items():
                spec = counts.specs.get(rule)
                if spec is None:
                    continue
                if spec.depth > depth:
                    todo += matches
                elif spec.operator in CLOSING:
                    alerts += self._until_the_end(spec, subject, matches, counts, log)
                else:
                    said, higher = self._group(spec, subject, matches, counts, log)
                    alerts += said
                    todo += higher
            todo.sort(key=lambda match: match.offset)
        return alerts

    def _until_the_end(
        self, spec: Spec, subject: str, matches: list[Match], counts: Counts, log: str
    ) -> list[Alert]:
        """A back-fill's windows are over already: it counts towards none."""
        if "|" in subject:
            return []
        timed = [(match, self._time_of(match.at_us, match.kafka_ms, counts)) for match in matches]
        return self._endings.take(spec, subject, timed, log, counts.taken_ms)

    def _group(
        self, spec: Spec, subject: str, matches: list[Match], counts: Counts, log: str
    ) -> tuple[list[Alert], list[Match]]:
        """The alerts, and what they mean to the correlations above."""
        raw = self._state.group(spec.id, subject, spec.depth)
        group = Group() if raw is None else _decode(raw)
        mark = group.marks.get(log, -1)
        alerts, higher = [], []
        events = _by_event([match for match in matches if match.offset >= mark])
        for parts in events:
            at_ms = self._time_of(parts[0].at_us, parts[0].kafka_ms, counts)
            if at_ms >= group.quiet_until_ms and _completes(group, spec, parts, at_ms):
                place = f"{log}/{parts[0].offset}"
                alerts.append(words.correlation(spec, subject, parts[0].shown, place, at_ms))
                higher += _higher(spec, parts[0])
                group.times, group.values, group.parts, group.slots = [], {}, {}, {}
                group.quiet_until_ms = at_ms + spec.seconds * 1000
        if events:
            group.marks[log] = events[-1][0].offset + 1
            group.seconds, group.touched_ms = spec.seconds, counts.taken_ms
            self._state.keep_group(spec.id, subject, spec.depth, _encode(group))
        return alerts, higher


def _higher(spec: Spec, last: Match) -> list[Match]:
    return [
        Match(
            one.rule,
            one.number,
            last.offset,
            last.at_us,
            last.kafka_ms,
            one.group,
            one.shown,
            one.counted,
            last.backfill,
            last.above,
        )
        for one in last.above
        if one.by == spec.id
    ]


def _by_event(matches: list[Match]) -> list[list[Match]]:
    """The matches of each event together: one event may be what several rules count."""
    events: list[list[Match]] = []
    for match in matches:
        if events and events[-1][0].offset == match.offset:
            events[-1].append(match)
        else:
            events.append([match])
    return events


def _completes(group: Group, spec: Spec, parts: list[Match], at_ms: int) -> bool:
    """Remembers an event; whether what the rule asks for now lies within its span."""
    span_ms = spec.seconds * 1000
    if spec.kind == "event_count" and spec.least > MOST_COUNTED:
        return _many(group, spec.least, at_ms * _SLOTS // span_ms)
    if spec.kind == "event_count":
        insort(group.times, at_ms)
        met = _crowded(group.times, spec.least, span_ms, at_ms)
        del group.times[: max(0, len(group.times) - spec.least)]
        return met
    if spec.kind == "value_count":
        for part in parts:
            group.values[part.counted] = max(at_ms, group.values.get(part.counted, at_ms))
        met = _crowded(sorted(group.values.values()), spec.least, span_ms, at_ms)
        if len(group.values) > spec.least:
            latest = sorted(group.values.items(), key=lambda item: item[1])[-spec.least :]
            group.values = dict(latest)
        return met
    for part in parts:
        times = group.parts.setdefault(str(part.number), [])
        insort(times, at_ms)
        del times[:-_LATEST]
    if len(group.parts) < spec.least:
        return False
    if spec.kind == "temporal_ordered":
        return _in_order([group.parts[str(number)] for number in range(spec.least)], span_ms)
    return _together(list(group.parts.values()), spec.least, span_ms)


def _many(group: Group, least: int, slot: int) -> bool:
    """Counts an event; whether so many lie in as many neighbouring slots as make a span, this one among them."""
    group.slots[slot] = group.slots.get(slot, 0) + 1
    newest = max(group.slots)
    group.slots = {one: events for one, events in group.slots.items() if one > newest - 2 * _SLOTS}
    last = [one for one in group.slots if slot <= one < slot + _SLOTS]
    return any(sum(group.slots.get(end - back, 0) for back in range(_SLOTS)) >= least for end in last)


def _crowded(times: list[int], least: int, span_ms: int, at_ms: int) -> bool:
    """Whether `least` of these rising times, `at_ms` among them, lie within the span."""
    return any(
        times[last] - times[last - least + 1] <= span_ms and times[last - least + 1] <= at_ms <= times[last]
        for last in range(least - 1, len(times))
    )


def _together(parts: list[list[int]], least: int, span_ms: int) -> bool:
    """Whether times of so many parts lie within one span."""
    return any(
        sum(any(start <= at <= start + span_ms for at in times) for times in parts) >= least
        for start in {at for times in parts for at in times}
    )


def _in_order(parts: list[list[int]], span_ms: int) -> bool:
    """Whether a time of each part, one after the other, lies within one span."""
    for start in parts[0]:
        at: int | None = start
        for times in parts[1:]:
            at = next((time for time in times if at is not None and time >= at), None)
        if at is not None and at - start <= span_ms:
            return True
    return False
