"""How a schedule cuts time into periods: half-open, one after the other, in the schedule's own zone. Pure.

A boundary is a time of the wall clock. Where the clock is set forward over it, it is the moment of the change; where the
clock shows it twice, the first of the two. So every moment lies in exactly one period, however long its day was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, pairwise
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim

Unit = Literal["month", "week", "day", "fire"]
_DAY = timedelta(days=1)
_HALF_SECOND = timedelta(milliseconds=500)


class Span(NamedTuple):
    """From `start` to before `end`, both in UTC. The label is unique within a calendar."""

    label: str
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Calendar:
    """`unit`: what a period is; `fire`: from one time of `cron` to the next. With another unit `cron` says when the report of
    a period that is over is made."""

    unit: Unit
    time_zone: str = "UTC"
    cron: str | None = None

    def as_json(self) -> dict[str, str | None]:
        """What the periods follow from."""
        return {
            "unit": self.unit,
            "time_zone": self.time_zone,
            "cron": self.cron if self.unit == "fire" else None,
        }

    def span_at(self, moment: datetime) -> Span:
        """The period in which a moment (aware) lies."""
        start = self._boundary_at(moment)
        while True:
            span = self._from(start)
            if moment < span.end:
                return span
            start = self._wall(span.end)

    def after(self, span: Span) -> Span:
        """The period that follows."""
        return self._from(self._wall(span.end))

    def before(self, span: Span) -> Span:
        """The period that precedes."""
        return self.span_at(span.start - timedelta(microseconds=1))

    def made_at(self, span: Span, grace: timedelta) -> datetime:
        """When the report of a period is made: its grace after the end, and then not before the next time of `cron`."""
        earliest = span.end + grace
        if self.cron is None or self.unit == "fire":
            return earliest
        wall = self._wall(earliest) - timedelta(minutes=1)
        return next(at for at in map(self.instant, CronSim(self.cron, wall)) if at >= earliest)

    def instant(self, wall: datetime) -> datetime:
        """The moment, in UTC, at which the clock shows `wall` (naive) first, or jumps over it."""
        zone = ZoneInfo(self.time_zone)
        found = wall.replace(tzinfo=zone).astimezone(UTC)
        if found.astimezone(zone).replace(tzinfo=None) == wall:
            return found
        return _jump(zone, found - _DAY, found + _DAY)

    def _wall(self, moment: datetime) -> datetime:
        return moment.astimezone(ZoneInfo(self.time_zone)).replace(tzinfo=None)

    def _boundary_at(self, moment: datetime) -> datetime:
        """A boundary at or before a moment, as a time of the wall clock."""
        wall = self._wall(moment)
        midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0)
        if self.unit == "month":
            return midnight.replace(day=1)
        if self.unit == "week":
            return midnight - timedelta(days=midnight.weekday())
        if self.unit == "day":
            return midnight
        back = CronSim(self.cron or "", wall + _DAY, reverse=True)
        return next(fire for fire in back if self.instant(fire) <= moment)

    def _from(self, wall: datetime) -> Span:
        """The first period, not an empty one, that begins at this boundary or later."""
        for first, following in pairwise(chain([wall], self._boundaries(wall))):
            start, end = self.instant(first), self.instant(following)
            if start < end:
                return Span(self._label(self._wall(start)), start, end)
        raise ValueError(f"no boundary after {wall}")

    def _boundaries(self, wall: datetime) -> Iterator[datetime]:
        """Boundaries after one, without end."""
        if self.unit == "fire":
            yield from CronSim(self.cron or "", wall)
            return
        while True:
            if self.unit == "month":
                wall = (wall.replace(day=1) + timedelta(days=32)).replace(day=1)
            else:
                wall += timedelta(days=7) if self.unit == "week" else _DAY
            wall = wall.replace(hour=0, minute=0, second=0, microsecond=0)
            yield wall

    def _label(self, wall: datetime) -> str:
        if self.unit == "week":
            year, week, _ = wall.isocalendar()
            return f"{year:04}-W{week:02}"
        return wall.strftime({"month": "%Y-%m", "day": "%Y-%m-%d"}.get(self.unit, "%Y-%m-%dT%H%M"))


def _jump(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The moment between two at which the clock is set forward, to the second."""
    before = low.astimezone(zone).utcoffset()
    while high - low > _HALF_SECOND:
        middle = low + (high - low) / 2
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return (high + _HALF_SECOND / 2).replace(microsecond=0) if high.microsecond else high
