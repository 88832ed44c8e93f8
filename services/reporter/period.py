"""Which records a report is about: half-open periods in a schedule's time zone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.common.errors import ConfigurationError

Rule = Literal["schedule", "event", "append"]
FUTURE_US = 5 * 60 * 1_000_000
"""An event may be dated this much after it was recorded; what lies further ahead counts when it was recorded."""
HOUR_US = 60 * 60 * 1_000_000
GRACE_US = HOUR_US
"""How long after its end a period of a schedule takes events that happened in it, unless the schedule says otherwise."""
_MONTH = re.compile(r"^(\d{4})-(0[1-9]|1[0-2])$")
_WEEK = re.compile(r"^(\d{4})-W(0[1-9]|[1-4]\d|5[0-3])$")
_DAY = re.compile(r"^(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Period:
    """Half-open: from `start` to before `end`, both with the time zone of the schedule, `zone` (an IANA name).

    `rule` says which time decides. `schedule`: an event's own time where that lies in a period that was still open when
    the event was recorded (until `grace_us` after its end), else the time of recording; so every record is in exactly one
    period of a schedule. `event`: the event's own time, whenever it was recorded. `append`: the time of recording.
    `before` is the start of the period before this one (for `schedule` and for comparisons)."""

    label: str
    start: datetime
    end: datetime
    rule: Rule
    zone: str = "UTC"
    before: datetime | None = None
    grace_us: int = GRACE_US

    @property
    def title(self) -> str:
        """`October 2026`, `the last 30 days`, `3 to 9 October 2026`."""
        if _MONTH.match(self.label):
            return f"{self.start:%B %Y}"
        if _WEEK.match(self.label):
            last = self.end - timedelta(microseconds=1)
            return f"week {self.label[6:]} of {self.label[:4]} ({self.start:%Y-%m-%d} to {last:%Y-%m-%d})"
        if _DAY.match(self.label):
            return f"{self.start.day} {self.start:%B %Y}"
        if self.label.startswith("last "):
            return f"the {self.label}"
        return " to ".join(f"{at.day} {at:%B %Y %H:%M}" for at in (self.start, self.end))

    @property
    def explanation(self) -> str:
        """The rule in words, as printed on every page."""
        if self.rule == "event":
            return (
                "Selected by event time: every event that happened in the period, whenever it was recorded."
            )
        if self.rule == "append":
            return (
                "Selected by append time: every event that was recorded in the period, whenever it happened."
            )
        return (
            "Selected by event time, where the event was recorded before the period was closed "
            f"({_in_words(self.grace_us // 60_000_000)} after its end); events recorded later, dated more than 5 minutes ahead, or "
            "without a time or time zone of their own count when they were recorded. Every record is in exactly one period."
        )

    @property
    def start_us(self) -> int:
        return microseconds(self.start)

    @property
    def end_us(self) -> int:
        return microseconds(self.end)

    @property
    def before_us(self) -> int:
        """The start of the period before; of the same length where none is said."""
        return (
            self.start_us - (self.end_us - self.start_us)
            if self.before is None
            else microseconds(self.before)
        )

    @property
    def days(self) -> int:
        """Days that the period touches, in its zone."""
        return len(self.dates)

    @property
    def dates(self) -> list[date]:
        """The days that the period touches, in its zone."""
        zone = find_zone(self.zone)
        first = self.start.astimezone(zone).date()
        last = (self.end - timedelta(microseconds=1)).astimezone(zone).date()
        return [date.fromordinal(day) for day in range(first.toordinal(), last.toordinal() + 1)]

    @property
    def day_starts_us(self) -> list[int]:
        """When each of `dates` begins, in microseconds since 1970 UTC; a day may have 23 or 25 hours."""
        zone = find_zone(self.zone)
        return [microseconds(datetime.combine(day, time(), zone)) for day in self.dates]

    def previous(self) -> Period:
        """The period before, by the same rule."""
        start = datetime.fromtimestamp(self.before_us / 1_000_000, UTC).astimezone(find_zone(self.zone))
        label = f"the period before {self.label}"
        for form in (_MONTH, _WEEK, _DAY):
            if form.match(self.label):
                label = _label(form, start)
        return Period(label, start, self.start, self.rule, self.zone, None, self.grace_us)

    def as_json(self) -> dict[str, Any]:
        """For Inputs; `from_json` reads it."""
        return {
            "label": self.label,
            "start_us": self.start_us,
            "end_us": self.end_us,
            "before_us": self.before_us,
            "rule": self.rule,
            "zone": self.zone,
            "grace_us": self.grace_us,
        }

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Period:
        zone = find_zone(said["zone"])
        start, end, before = (
            moment(said[name]).astimezone(zone) for name in ("start_us", "end_us", "before_us")
        )
        return cls(said["label"], start, end, said["rule"], said["zone"], before, said["grace_us"])


def microseconds(at: datetime) -> int:
    """Since 1970 UTC."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def moment(us: int) -> datetime:
    """Microseconds since 1970 UTC as a time in UTC."""
    return _EPOCH + timedelta(microseconds=us)


def find_zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name. Raises ConfigurationError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigurationError(
            f"no such time zone: {name!r}; a name is as in Europe/Berlin or UTC"
        ) from error


def period_named(text: str, zone: str = "UTC", rule: Rule = "event", grace_us: int = GRACE_US) -> Period:
    """The month `2026-10`, the ISO week `2026-W41` or the day `2026-10-05` in `zone`. Raises ConfigurationError."""
    for form, make in ((_MONTH, _month_days), (_WEEK, _week_days), (_DAY, _one_day)):
        found = form.match(text)
        if found is None:
            continue
        try:
            before, first, end = make(*(int(part) for part in found.groups()))
        except (ValueError, OverflowError):
            break
        tz = find_zone(zone)
        start, after, earlier = (datetime.combine(day, time(), tz) for day in (first, end, before))
        if microseconds(start) >= microseconds(after):
            raise ConfigurationError(f"{text} was left out in {zone}: its clocks were put on by a day")
        if microseconds(earlier) >= microseconds(start):  # the day before was left out
            earlier = datetime.combine(before - timedelta(days=1), time(), tz)
        return Period(text, start, after, rule, zone, earlier, grace_us)
    raise ConfigurationError(
        f"a period is a month as in 2026-10, a week as in 2026-W41 or a day as in 2026-10-05, not {text!r}"
    )


def _in_words(minutes: int) -> str:
    """`1 minute`, `90 minutes`, `2 hours`, `3 days`."""
    for size, unit in ((1440, "day"), (60, "hour"), (1, "minute")):
        if minutes % size == 0 and minutes:
            return f"{minutes // size:,} {unit}{'' if minutes == size else 's'}"
    return "0 minutes"


def month(text: str, zone: str = "UTC", rule: Rule = "event") -> Period:
    """The calendar month `2026-10`. Raises ConfigurationError."""
    if _MONTH.match(text) is None:
        raise ConfigurationError(f"--period is a month as in 2026-10, not {text!r}")
    return period_named(text, zone, rule)


def between(
    start: datetime, end: datetime, zone: str = "UTC", rule: Rule = "event", label: str = ""
) -> Period:
    """Any half-open period. Raises ConfigurationError where it is empty or a time has no zone."""
    if start.tzinfo is None or end.tzinfo is None or start >= end:
        raise ConfigurationError("a period has a start before its end, both with a time zone")
    tz = find_zone(zone)
    name = label or f"{start.astimezone(tz):%Y-%m-%d %H:%M} to {end.astimezone(tz):%Y-%m-%d %H:%M}"
    return Period(name, start.astimezone(tz), end.astimezone(tz), rule, zone)


def last_days(now_us: int, days: int = 30, zone: str = "UTC") -> Period:
    """The `days` before now, by append time. `now_us`: microseconds since 1970 UTC."""
    end = moment(now_us).astimezone(find_zone(zone))
    return Period(f"last {days} days", end - timedelta(days=days), end, "append", zone)


def following(period: Period) -> Iterator[Period]:
    """The periods after a month, week or day, without end: each begins where the one before ends."""
    form = next(form for form in (_MONTH, _WEEK, _DAY) if form.match(period.label))
    start = period.end
    while True:
        try:
            period = period_named(_label(form, start), period.zone, period.rule, period.grace_us)
        except ConfigurationError:  # a day that the zone left out: Samoa had no 2011-12-30
            start = datetime.combine(start.date() + timedelta(days=1), time(), find_zone(period.zone))
            continue
        start = period.end
        yield period


def _label(form: re.Pattern[str], start: datetime) -> str:
    if form is _MONTH:
        return f"{start:%Y-%m}"
    year, week, _ = start.isocalendar()
    return f"{year:04}-W{week:02}" if form is _WEEK else f"{start:%Y-%m-%d}"


def _month_days(year: int, number: int) -> tuple[date, date, date]:
    first = date(year, number, 1)
    return (first - timedelta(days=1)).replace(day=1), first, (first + timedelta(days=31)).replace(day=1)


def _week_days(year: int, week: int) -> tuple[date, date, date]:
    first = date.fromisocalendar(year, week, 1)
    return first - timedelta(days=7), first, first + timedelta(days=7)


def _one_day(year: int, number: int, day: int) -> tuple[date, date, date]:
    first = date(year, number, day)
    return first - timedelta(days=1), first, first + timedelta(days=1)
