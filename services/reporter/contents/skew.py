"""Clocks: events whose own time is far from the time at which they were recorded, by source."""

from __future__ import annotations

from typing import Any

from services.reporter.contents.citing import cites
from services.reporter.contents.selection import Selection
from services.reporter.period import FUTURE_US, HOUR_US

MOST_SOURCES = 20


async def clock_skew(selection: Selection) -> dict[str, Any]:
    """How many events of the period state a time more than `ahead_limit_s` ahead of their recording, and more than `behind_limit_s`
    behind it, and the most of each, in all and by source. Those without a time of their own, or without a zone, are not among
    them: they are listed as such. Behind is a clock that is slow, or an event that came late: the records do not tell which."""
    rows = await selection.fetch("skew", FUTURE_US, HOUR_US, MOST_SOURCES)
    return {
        "ahead_limit_s": FUTURE_US // 1_000_000,
        "behind_limit_s": HOUR_US // 1_000_000,
        "ahead": _side(rows[0] if rows else None, "all_", "ahead"),
        "behind": _side(rows[0] if rows else None, "all_", "behind"),
        "by_source": [
            {"source": row["source"]} | {side: _side(row, "", side) for side in ("ahead", "behind")}
            for row in rows
            if not row["blank"]
        ],
        "sources": rows[0]["sources"] if rows else 0,
    }


def _side(row: Any, of: str, side: str) -> dict[str, Any]:
    events = 0 if row is None else int(row[f"{of}{side}"])
    most = row[f"{of}most_{side}_us"] if events else None
    return {
        "events": events,
        "most_s": None if most is None else round(most / 1_000_000, 3),
        "cites": cites(row[f"{of}first_{side}"] if events else None),
    }
