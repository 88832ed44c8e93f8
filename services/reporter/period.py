"""Which events a report is about."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from services.common.errors import ConfigurationError

Rule = Literal["event", "append"]
_MONTH = re.compile(r"^(\d{4})-(0[1-9]|1[0-2])$")


class Period(NamedTuple):
    """Half-open: from `start` to before `end`, in UTC. `rule` says which time of an event decides: its own (`event`)
    or that of its recording (`append`)."""

    label: str
    start: datetime
    end: datetime
    rule: Rule

    @property
    def title(self) -> str:
        """`October 2026`, `the last 30 days`."""
        return f"{self.start:%B %Y}" if self.rule == "event" else f"the {self.label}"

    @property
    def explanation(self) -> str:
        """The rule in words, as printed on every page."""
        if self.rule == "event":
            return (
                "Selected by event time: every event that happened in the period, whenever it was recorded."
            )
        return "Selected by append time: every event that was recorded in the period, whenever it happened."

    @property
    def days(self) -> int:
        """Days that the period touches."""
        return (self.end - timedelta(microseconds=1)).toordinal() - self.start.toordinal() + 1


def month(text: str) -> Period:
    """The calendar month `2026-10`, by event time. Raises ConfigurationError."""
    found = _MONTH.match(text)
    if found is None or int(found[1]) < 1 or int(found[1]) > 9998:
        raise ConfigurationError(f"--period is a month as in 2026-10, not {text!r}")
    start = datetime(int(found[1]), int(found[2]), 1, tzinfo=UTC)
    end = (start + timedelta(days=31)).replace(day=1)
    return Period(text, start, end, "event")


def last_days(now_us: int, days: int = 30) -> Period:
    """The `days` before now, by append time. `now_us`: microseconds since 1970 UTC."""
    end = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=now_us)
    return Period(f"last {days} days", end - timedelta(days=days), end, "append")
