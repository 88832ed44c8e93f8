"""Figures as the document has them."""

from __future__ import annotations

import json
from typing import Any

from schemas.record import Kind
from services.reporter.contents.citing import cites
from services.reporter.figures import MOST_KEYS, Figure, Figures, Table
from services.reporter.period import Period

KINDS = {
    Kind.DUPLICATE: "Repeats of an event already recorded",
    Kind.SKIP: "Records of source offsets that hold no event",
    Kind.ANNOTATION: "Later readings by AI",
    Kind.OWN_EVENT: "Events of Piperoll itself",
    Kind.GENESIS: "Chains opened",
    Kind.CLOSE: "Chains closed",
    Kind.TIME_ANCHOR: "Checkpoints noted in the chains, to show that what follows is younger",
}
"""What a report calls the records that are no events."""
_OURS = {
    Kind.DUPLICATE: "Repeats of what Piperoll itself said, which it says again where it is not sure: own events and readings by AI",
    Kind.POISON: "Unreadable messages on topics that only Piperoll writes to",
}
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
    rows = [(kind, kind_name(kind), figure) for kind, figure in sorted(figures.own.items())]
    rows += [(kind, _OURS[Kind(kind)], figure) for kind, figure in sorted(figures.ours.items())]
    return [
        {"kind": kind, "name": name, "records": figure.events, "cites": cites(figure.first_id)}
        for kind, name, figure in rows
    ]


def kind_name(kind: int) -> str:
    """A kind in words."""
    return {int(known): name for known, name in KINDS.items()}.get(kind, f"Records of kind {kind}")


def judged_by(figures: Figures) -> dict[str, Any]:
    """The versions of rules, mappings and catalogue that judged the events of the period, by their own records: how many events
    by each, the most first, `shown` of `of`. `unstated`: events whose record does not say, as where its content was erased."""
    table = figures.table("judged")
    stated = [figure for figure in table.figures if figure.key]
    unstated = sum(figure.events for figure in table.figures if not figure.key)
    return {
        "versions": [
            {name: _version(figure.key, name) for name in ("rules", "mappings", "catalog")}
            | {"events": figure.events, "cites": cites(figure.first_id)}
            for figure in stated[:MOST_KEYS]
        ],
        "shown": len(stated[:MOST_KEYS]),
        "of": len(stated),
        "unstated": unstated,
    }


def _version(key: str, name: str) -> str:
    said = json.loads(key)
    return str(said.get(name, "")) if isinstance(said, dict) else ""


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        "events": figure.events,
        "high_risk": figure.high,
        "share_percent": None if figure.share is None else float(figure.share),
        "cites": cites(figure.first_id),
    }


def _table(name: str, table: Table) -> dict[str, Any]:
    shown = table.figures[:MOST_KEYS]
    rows = [{"key": figure.key} | _parts(name, figure.key) | _figure(figure) for figure in shown]
    return {"rows": rows, "shown": len(rows), "keys": table.keys}


def _parts(name: str, key: str) -> dict[str, str]:
    """What a key of several things is made of: id, title and level of a rule, type and tag of a catalogue problem."""
    names = _PARTS.get(name)
    if names is None:
        return {}
    return {
        part: "" if value is None else str(value) for part, value in zip(names, json.loads(key), strict=True)
    }
