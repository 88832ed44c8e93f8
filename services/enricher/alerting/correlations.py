"""Sigma's correlation rules: a window of event time slides over the events of each group.

A group remembers no more than it takes to decide: the latest times of so many events, values or rules as the rule asks
for, each event once by its offset. When it has raised its alert it begins anew, and is quiet until as long as the rule's
span has passed: one alert for each span. The alert's id is that of the event that completed it, so that a crash which
leads to it again leads to the same one. Pure but for the state.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Collection

import msgspec

from services.common.alerts import Alert
from services.enricher.alerting import words
from services.enricher.alerting.state import State
from services.enricher.counts import Counts
from services.enricher.rules.matches import Match, Spec

_LATEST = 32
"""Times remembered of each rule of a temporal correlation."""


class Group(msgspec.Struct):
    """What is remembered of one group. `times`: of events, or of each value's or rule's latest, in milliseconds;
    `quiet_until_ms`: event time before which nothing counts; `marks`: the next source offset to count, by log."""

    seconds: int = 0
    touched_ms: int = 0
    quiet_until_ms: int = 0
    times: list[int] = []
    values: dict[str, int] = {}
    parts: dict[str, list[int]] = {}
    marks: dict[str, int] = {}


_decode = msgspec.json.Decoder(Group).decode
_encode = msgspec.json.Encoder().encode


class Correlator:
    """Takes the matches of counts in the order of their log. `time_of` gives the milliseconds at which an event counts:
    (event time in microseconds, Kafka's in milliseconds, counts)."""

    def __init__(self, state: State, time_of: Callable[[int, int, Counts], int]) -> None:
        self._state = state
        self._time_of = time_of

    def take(self, counts: Counts, declared: Collection[str], log: str) -> list[Alert]:
        """The alerts to which these matches lead. Events of a declared back-fill are a group of their own."""
        groups: dict[tuple[str, str], list[Match]] = {}
        for match in counts.matches:
            backfill = f"|{match.backfill}" if match.backfill in declared else ""
            groups.setdefault((match.rule, f"{match.group}{backfill}"), []).append(match)
        alerts = []
        for (rule, subject), matches in groups.items():
            spec = counts.specs.get(rule)
            if spec is not None:
                alerts += self._group(spec, subject, matches, counts, log)
        return alerts

    def _group(self, spec: Spec, subject: str, matches: list[Match], counts: Counts, log: str) -> list[Alert]:
        raw = self._state.group(spec.id, subject)
        group = Group() if raw is None else _decode(raw)
        mark = group.marks.get(log, -1)
        alerts, events = [], _by_event([match for match in matches if match.offset >= mark])
        for parts in events:
            at_ms = self._time_of(parts[0].at_us, parts[0].kafka_ms, counts)
            if at_ms >= group.quiet_until_ms and _completes(group, spec, parts, at_ms):
                place = f"{log}/{parts[0].offset}"
                alerts.append(words.correlation(spec, subject, parts[0].shown, place, at_ms))
                group.times, group.values, group.parts = [], {}, {}
                group.quiet_until_ms = at_ms + spec.seconds * 1000
        if events:
            group.marks[log] = events[-1][0].offset + 1
            group.seconds, group.touched_ms = spec.seconds, counts.taken_ms
            self._state.keep_group(spec.id, subject, _encode(group))
        return alerts


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
