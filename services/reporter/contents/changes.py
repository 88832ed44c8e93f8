"""What is new in a period, and how it differs from the one before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from services.reporter.contents.citing import cites
from services.reporter.contents.selection import Selection
from services.reporter.contents.times import iso, iso_of
from services.reporter.figures import Figures, Table

MOST_SILENT = 20
_MOST_SOURCES = 10_000
_COMPARED = (
    ("all", "events", "events"),
    ("all", "high", "events of high or critical risk"),
    ("all", "critical", "events of critical risk"),
    ("poison", "events", "unreadable messages"),
    ("types", "events", "types of events"),
    ("sources", "events", "sources"),
    ("actors", "events", "actors"),
)
Numbers = dict[tuple[str, str, str], int]
"""By figure, key and column of query `compared`."""


async def changes(selection: Selection, figures: Figures) -> dict[str, Any]:
    """New actors, types and sources (in no record of an earlier period), sources that sent events in the period before and none
    in this one, and figures beside those of the period before. Both periods below the same cut. In a log's first period, before which there is
    `nothing_before`, all would be new: nothing is compared."""
    before = replace(selection, period=selection.period.previous())
    (earlier,) = await selection.fetch("earlier")
    types, sources = ([item.key for item in figures.table(name).figures] for name in ("type", "source"))
    old = _numbers(await before.fetch("compared", types, sources))
    return {
        "nothing_before": not earlier["there"],
        **{
            f"new_{name}s": _new(figures.table(f"new-{name}") if earlier["there"] else Table([], 0))
            for name in ("actor", "type", "source")
        },
        "silent_sources": await _silent(selection, before, figures),
        "last_period": {
            "label": before.period.label,
            "start": iso_of(before.period.start),
            "end": iso_of(before.period.end),
        },
        "against_last_period": _against(figures, old) if earlier["there"] else [],
    }


def _new(table: Table) -> dict[str, Any]:
    return {
        "shown": table.shown,
        "of": table.keys,
        "rows": [
            {"key": item.key, "events": item.events, "high_risk": item.high, "cites": cites(item.first_id)}
            for item in table.figures
        ],
    }


async def _silent(selection: Selection, before: Selection, figures: Figures) -> list[dict[str, Any]]:
    """Sources of the period before without an event in this one, the most frequent first."""
    rows = await before.fetch("silent", _MOST_SOURCES)
    known = figures.table("source")
    if known.shown == known.keys:
        there = {item.key for item in known.figures}
    else:
        there = {row["source"] for row in await selection.fetch("present", [row["source"] for row in rows])}
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


def _against(figures: Figures, old: Numbers) -> list[dict[str, Any]]:
    total = figures.one("all")
    critical = next((item.events for item in figures.table("risk").figures if item.key == "critical"), 0)
    now = {("all", "events"): total.events, ("all", "high"): total.high, ("all", "critical"): critical}
    now |= {("poison", "events"): figures.one("poison").events}
    now |= {(f"{name}s", "events"): figures.table(name).keys for name in ("type", "source", "actor")}
    rows = [
        _row(words, "", now[figure, column], old.get((figure, "", column), 0))
        for figure, column, words in _COMPARED
    ]
    if not any(row["before"] for row in rows):
        return rows  # each type and source would be there, with nothing before
    for name in ("type", "source"):
        rows += [
            _row(f"events of this {name}", item.key, item.events, old.get((name, item.key, "events"), 0))
            for item in figures.table(name).figures
        ]
    return rows


def _numbers(rows: list[Any]) -> Numbers:
    return {
        (row["figure"], row["key"], name): row[name]
        for row in rows
        for name in ("events", "high", "critical")
    }


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
