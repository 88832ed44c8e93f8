"""What was made of events of high risk: reviewed, open, how soon; and what is still open from before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from schemas.enrichment import RISKS
from services.reporter.contents.citing import cites, label
from services.reporter.contents.selection import Selection
from services.reporter.contents.times import iso

MOST_CARRIED = 20
_ANSWERED = ("explained", "incident", "false-positive")


async def reviews(selection: Selection) -> dict[str, Any]:
    """Of the events that AI or rules gave high or critical risk at any time: those with an answer below the cut, those without
    (`open`: no review, or one that says so), the median of hours from the recording of an event to its first answer, and the
    open ones of earlier periods."""
    rows = await selection.fetch("grave_reviews")
    by_status = {row["status"]: row for row in rows if not row["all_of_them"]}
    total = next((row for row in rows if row["all_of_them"]), None)
    answered = sum(by_status[name]["events"] for name in _ANSWERED if name in by_status)
    of = total["events"] if total else 0
    median = total["median_hours"] if total else None
    carried = await _carried(selection)
    return {
        "reviewable": of,
        "reviewed": answered,
        "open": of - answered,
        "by_status": [
            {"status": status, "events": row["events"], "cites": cites(row["first_id"])}
            for status, row in sorted(by_status.items())
        ],
        "median_hours": None if median is None else round(float(median), 2),
        "carried_over_of": carried[0]["of"] if carried else 0,
        "carried_over": [
            {
                "record": label(row["id"]),
                "risk": RISKS[row["risk"] - 1],
                "status": row["review"] or "none",
                "event_time": iso(row["time_us"]),
                "recorded": iso(row["appended_us"]),
                "cites": cites(row["id"]),
            }
            for row in carried
        ],
    }


async def _carried(selection: Selection) -> list[Any]:
    return await replace(selection, wide=True).fetch("carried", MOST_CARRIED)
