"""What is new in a period, and how it differs from the one before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from services.reporter.contents.citing import cites
from services.reporter.contents.selection import Selection
from services.reporter.contents.times import iso, iso_of
from services.reporter.figures import Figures

MOST_NEW = 50
MOST_SILENT = 20
_COMPARED = (
    ("all", "events"),
    ("high", "events of high or critical risk"),
    ("critical", "events of critical risk"),
)
_COUNTED = (
    ("poison", "unreadable messages"),
    ("types", "types of events"),
    ("sources", "sources"),
    ("actors", "actors"),
)


async def changes(selection: Selection, figures: Figures) -> dict[str, Any]:
    """New actors, types and sources (in no record of an earlier period), sources that sent events in the period before and none
    in this one, and figures beside those of the period before. Both periods below the same cut."""
    fresh = await selection.fetch("fresh", MOST_NEW)
    before = replace(selection, period=selection.period.previous())
    types, sources = ([item.key for item in figures.table(name).figures] for name in ("type", "source"))
    compared = [await one.fetch("compared", types, sources) for one in (selection, before)]
    return {
        "new_actors": _new(fresh, "actor"),
        "new_types": _new(fresh, "type"),
        "new_sources": _new(fresh, "source"),
        "silent_sources": await _silent(selection, before),
        "last_period": {
            "label": before.period.label,
            "start": iso_of(before.period.start),
            "end": iso_of(before.period.end),
        },
        "against_last_period": _against(*compared),
    }


def _new(rows: list[Any], what: str) -> dict[str, Any]:
    found = [row for row in rows if row["what"] == what]
    return {
        "shown": len(found),
        "of": found[0]["of"] if found else 0,
        "rows": [
            {
                "key": row["name"],
                "events": row["events"],
                "high_risk": row["high"],
                "cites": cites(row["first_id"]),
            }
            for row in found
        ],
    }


async def _silent(selection: Selection, before: Selection) -> list[dict[str, Any]]:
    """Sources of the period before without an event in this one, the most frequent first."""
    rows = await before.fetch("silent", 10_000)
    there = {row["source"] for row in await selection.fetch("silent", 10_000)}
    gone = [row for row in rows if row["source"] not in there]
    return [
        {
            "key": row["source"],
            "events_before": row["events"],
            "last_event": iso(row["last_us"]),
            "cites": cites(row["last_id"]),
        }
        for row in gone[:MOST_SILENT]
    ]


def _against(now: list[Any], before: list[Any]) -> list[dict[str, Any]]:
    new, old = _numbers(now), _numbers(before)
    rows = [_row(words, "", new["all", "", name], old["all", "", name]) for name, words in _COMPARED]
    rows += [_row(words, "", new[name, "", "all"], old[name, "", "all"]) for name, words in _COUNTED]
    for figure in ("type", "source"):
        keys = [row["key"] for row in now if row["figure"] == figure]
        rows += [
            _row(f"events of this {figure}", key, new[figure, key, "all"], old.get((figure, key, "all"), 0))
            for key in keys
        ]
    return rows


def _numbers(rows: list[Any]) -> dict[tuple[str, str, str], int]:
    found = {}
    for row in rows:
        for name, column in (("all", "events"), ("high", "high"), ("critical", "critical")):
            found[row["figure"], row["key"], name] = row[column] or 0
    return found


def _row(figure: str, key: str, now: int, before: int) -> dict[str, Any]:
    """A change in percent has no meaning where there was nothing before."""
    percent = round(100 * (now - before) / before, 1) if before else None
    return {
        "figure": figure,
        "key": key,
        "now": now,
        "before": before,
        "change": now - before,
        "change_percent": percent,
    }
