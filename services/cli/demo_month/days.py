"""The month: its days in local time, and the draw of a moment. Moments are milliseconds since 1970 UTC."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from math import exp
from random import Random
from typing import NamedTuple
from zoneinfo import ZoneInfo

_HOUR_MS = 3_600_000


class Month(NamedTuple):
    """A month of the calendar, in UTC."""

    year: int
    number: int

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.number:02d}"

    @property
    def begins(self) -> int:
        return _midnight(date(self.year, self.number, 1), "UTC")

    @property
    def ends(self) -> int:
        """The first moment that is no longer in it."""
        return _midnight(self.following, "UTC")

    @property
    def following(self) -> date:
        return date(self.year + self.number // 12, self.number % 12 + 1, 1)

    def days(self) -> Iterator[date]:
        day = date(self.year, self.number, 1)
        while day < self.following:
            yield day
            day += timedelta(days=1)

    def workdays(self) -> list[date]:
        return [day for day in self.days() if day.weekday() < 5]


def parse_month(text: str) -> Month:
    """`2026-10` as a month. Raises ValueError, which says what is wanted."""
    found = re.fullmatch(r"(\d{4})-(0[1-9]|1[0-2])", text)
    if found is None or found[1] < "1970":
        raise ValueError(f"{text!r} is not a month such as 2026-10")
    return Month(int(found[1]), int(found[2]))


def month_before(day: date) -> Month:
    """The last complete month before a day."""
    last = day.replace(day=1) - timedelta(days=1)
    return Month(last.year, last.month)


def moment(day: date, hour: float, zone: str) -> int:
    """The moment at a local hour of a day; hours of 24 and more are on the day after."""
    return _midnight(day, zone) + int(hour * _HOUR_MS)


def iso(at: int) -> str:
    """RFC 3339 with milliseconds and Z."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_seconds(at: int) -> str:
    """RFC 3339 without a fraction, as CloudTrail writes it."""
    return datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def count(rng: Random, mean: float) -> int:
    """How many times something happens that happens `mean` times on average (Poisson)."""
    if mean > 40:
        return max(0, round(rng.gauss(mean, mean**0.5)))
    limit, product, times = exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        times += 1
    return times


def draw_hour(rng: Random, weights: Sequence[float]) -> float:
    """An hour of the day, by 24 weights, uniform within the hour."""
    return rng.choices(range(24), weights)[0] + rng.random()


@lru_cache(maxsize=512)
def _midnight(day: date, zone: str) -> int:
    return int(datetime.combine(day, time(), ZoneInfo(zone)).timestamp()) * 1000
