"""Figures as the document has them."""

from __future__ import annotations

import json
from typing import Any

from schemas.record import Kind
from services.reporter.contents.citing import cites
from services.reporter.figures import Figure, Figures, Table
from services.reporter.period import Period

KINDS = {
    Kind.DUPLICATE: "Repeats of an event already recorded",
    Kind.SKIP: "Records of source offsets that hold no event",
    Kind.ANNOTATION: "Later readings by AI",
    Kind.OWN_EVENT: "Events of Piperoll itself",
    Kind.GENESIS: "Chains opened",
    Kind.CLOSE: "Chains closed",
}
"""What a report calls the records that are no events."""
_TABLES = ("type", "source", "actor", "risk", "by", "tag", "noticed", "rule", "catalogue")
_PARTS = {"rule": ("id", "title", "level"), "catalogue": ("type", "tag")}


def totals(figures: Figures) -> dict[str, Any]:
    """Single figures by name; `duplicates` and `unchecked` are no events."""
    named = figures.single | {"duplicates": figures.kind(Kind.DUPLICATE)}
    return {name: _figure(figure) for name, figure in named.items()}


def tables(figures: Figures) -> dict[str, Any]:
    """By name: the most frequent keys, and how many there are."""
    return {name: _table(name, figures.table(name)) for name in _TABLES}


def by_day(period: Period, figures: Figures) -> list[dict[str, Any]]:
    """A row for each day of the period in its zone, also where nothing happened."""
    known = {figure.key: figure for figure in figures.table("day").figures}
    days = [day.isoformat() for day in period.dates]
    return [{"day": day} | _figure(known.get(day, Figure(day, 0))) for day in days]


def other_records(figures: Figures) -> list[dict[str, Any]]:
    """Records of the period that are no events, by kind."""
    return [
        {"kind": kind, "name": kind_name(kind), "records": figure.events, "cites": cites(figure.first_id)}
        for kind, figure in sorted(figures.own.items())
    ]


def kind_name(kind: int) -> str:
    """A kind in words."""
    return {int(known): name for known, name in KINDS.items()}.get(kind, f"Records of kind {kind}")


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        "events": figure.events,
        "high_risk": figure.high,
        "share_percent": None if figure.share is None else float(figure.share),
        "cites": cites(figure.first_id),
    }


def _table(name: str, table: Table) -> dict[str, Any]:
    rows = [{"key": figure.key} | _parts(name, figure.key) | _figure(figure) for figure in table.figures]
    return {"rows": rows, "shown": table.shown, "keys": table.keys}


def _parts(name: str, key: str) -> dict[str, str]:
    """What a key of several things is made of: id, title and level of a rule, type and tag of a catalogue problem."""
    names = _PARTS.get(name)
    if names is None:
        return {}
    return {
        part: "" if value is None else str(value) for part, value in zip(names, json.loads(key), strict=True)
    }
