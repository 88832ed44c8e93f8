"""Which periods of a schedule are over and not noted yet. After downtime: all of them, the oldest first."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from services.common.errors import ConfigurationError
from services.reporter.document import Filters
from services.reporter.period import Period, find_zone
from services.reporter.runs.calendar import Calendar, Span
from services.reporter.runs.configuration import Schedule, first_moment
from services.reporter.runs.ledger import Ledger
from services.reporter.runs.rows import NewIntent, Run

_MOST_AT_ONCE = 1000


async def note_due(ledger: Ledger, schedule: Schedule, now: datetime) -> list[Run]:
    """Notes a run for each period whose report is to be made by now; returns those that are new. Raises ConfigurationError
    where the schedule cuts time otherwise than it did: its periods would overlap, or leave something out."""
    last = await ledger.last_run(schedule.name)
    if last is not None and last.calendar != schedule.calendar.as_json():
        raise ConfigurationError(
            f"schedule {schedule.name!r} has cut time otherwise until now ({_words(last.calendar)}): a record would fall into "
            "two of its periods, or into none. Give the changed schedule a name of its own"
        )
    since = await ledger.recording_since()
    if since is None and last is None:
        return []
    added = []
    for span in due_spans(schedule, None if last is None else last.span, now, since):
        # nobody could have waited for the periods with which a schedule begins
        due = span.end + schedule.due if last is not None else max(span.end, now) + schedule.due
        run = await ledger.add_run(schedule.name, span, schedule.calendar, due)
        if run is not None:
            added.append(run)
    return added


def due_spans(
    schedule: Schedule, last: Span | None, now: datetime, since: datetime | None = None
) -> Iterator[Span]:
    """The periods behind `last` whose time has come, the oldest first. Without `last`: from the schedule's `first` on, else
    the last one that is over, unless nothing was recorded before its end: `since` is when the first record was appended."""
    calendar = schedule.calendar
    span = _first(schedule, calendar, now, since) if last is None else calendar.after(last)
    for _ in range(_MOST_AT_ONCE):
        if calendar.made_at(span, schedule.grace) > now:
            return
        yield span
        span = calendar.after(span)


def next_span(
    schedule: Schedule, last: Span | None, now: datetime, since: datetime | None = None
) -> tuple[Span, datetime]:
    """The next period to be reported, and when its report is made."""
    calendar = schedule.calendar
    span = _first(schedule, calendar, now, since) if last is None else calendar.after(last)
    return span, calendar.made_at(span, schedule.grace)


def _first(schedule: Schedule, calendar: Calendar, now: datetime, since: datetime | None) -> Span:
    start = first_moment(schedule)
    if start is not None:
        return calendar.span_at(start)
    span = calendar.before(calendar.span_at(now))
    return span if since is not None and since < span.end else calendar.span_at(since or now)


def period_of(schedule: Schedule, run: Run) -> Period:
    """The run's period as documents count it: each record of a schedule in exactly one."""
    calendar, zone = schedule.calendar, find_zone(run.time_zone)
    return Period(
        run.label,
        run.span.start.astimezone(zone),
        run.span.end.astimezone(zone),
        "schedule",
        run.time_zone,
        calendar.before(run.span).start.astimezone(zone),
        schedule.grace // timedelta(microseconds=1),
    )


def filters_of(schedule: Schedule) -> Filters:
    return Filters(tuple(schedule.filters.source), tuple(schedule.filters.type), tuple(schedule.filters.tags))


def intents_of(schedule: Schedule) -> list[NewIntent]:
    """What is to be delivered of each of its editions."""
    return [
        NewIntent("edition", one.name, one.role, one.target, one.detail, list(schedule.formats), "")
        for one in schedule.recipients
    ]


def _words(calendar: dict[str, str | None]) -> str:
    cron = f", cron {calendar['cron']}" if calendar.get("cron") else ""
    return f"by {calendar.get('unit')} in {calendar.get('time_zone')}{cron}"
