"""Single events that a report shows: those of high risk with why, those that could not be read, those that came late."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from schemas.enrichment import RISKS
from services.reporter.contents.citing import cites, label
from services.reporter.contents.own import data_of, text_in
from services.reporter.contents.selection import Selection
from services.reporter.contents.times import iso, iso_of
from services.reporter.figures import read_hits

MOST_HIGH_RISK = 100
MOST_UNREADABLE = 20
MOST_LATE = 20
_WHO = ("actor", "action", "resource", "origin", "outcome")
_LATE = {
    "late": "that happened in a period that was closed when recorded",
    "future": "dated more than 5 minutes after being recorded",
    "missing": "without a time of their own",
    "no-zone": "with a time that names no time zone, read as UTC",
}
"""Why events count when they were recorded; as `late` of the query."""


async def high_risk(selection: Selection) -> tuple[dict[str, Any], list[int]]:
    """The worst and earliest events whose risk is high or critical at the cut: `shown` of `of`; and their record numbers."""
    rows = await selection.fetch("grave", MOST_HIGH_RISK)
    told = await _texts(selection, [row["id"] for row in rows])
    reviews = await _reviews(selection, [row["review_id"] for row in rows if row["review_id"] is not None])
    events = [_high(row, told[row["id"]], reviews.get(row["review_id"])) for row in rows]
    block = {"shown": len(events), "of": rows[0]["of"] if rows else 0, "events": events}
    return block, [row["id"] for row in rows]


async def unreadable(selection: Selection) -> list[dict[str, Any]]:
    """The first messages that could not be read as events, where they stand in Kafka, and why."""
    numbers = [row["id"] for row in await selection.fetch("poison", MOST_UNREADABLE)]
    told = await _texts(selection, numbers)
    return [
        {
            "record": label(number),
            "recorded": iso_of(told[number]["appended_at"]),
            "reason": text_in(told[number]["said"], "reason"),
            "topic": told[number]["topic"],
            "partition": told[number]["partition"],
            "offset": told[number]["source_offset"],
            "erased": told[number]["erased"],
            "cites": cites(number),
        }
        for number in numbers
    ]


async def late(selection: Selection, counts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Events that count when they were recorded and not when they happened, by reason, with the first of them. `counts`: the
    figures by reason."""
    rows = await selection.fetch("late", MOST_LATE) if counts else []
    return [
        {
            "reason": reason,
            "sentence": f"Events {_LATE[reason]}, counted by when they were recorded: {figure.events:,}.",
            "events": figure.events,
            "high_risk": figure.high,
            "cites": cites(figure.first_id),
            "first": [
                {
                    "record": label(row["id"]),
                    "event_time": iso(row["time_us"]),
                    "recorded": iso(row["appended_us"]),
                }
                for row in rows
                if row["late"] == reason
            ],
        }
        for reason, figure in sorted(counts.items())
    ]


async def _texts(selection: Selection, numbers: Sequence[int]) -> dict[int, dict[str, Any]]:
    """By record number: the columns of query `texts`, its JSON parsed."""
    if not numbers:
        return {}
    rows = await selection.fetch_below("texts", list(numbers))
    return {
        row["id"]: dict(row) | {"said": _object(row["said"]), "readings": _list(row["readings"])}
        for row in rows
    }


async def _reviews(selection: Selection, numbers: Sequence[int]) -> dict[int, dict[str, Any]]:
    """By record number of the review: who said what and why."""
    if not numbers:
        return {}
    rows = await selection.fetch_below("own_events_at", list(numbers))
    found = {}
    for row in rows:
        data = data_of(row["said"])
        found[row["id"]] = {
            "status": text_in(data, "status"),
            "by": text_in(data, "by"),
            "reason": text_in(data, "reason"),
            "recorded": iso(row["appended_us"]),
            "cites": cites(row["id"]),
        }
    return found


def _high(row: Any, told: Mapping[str, Any], review: dict[str, Any] | None) -> dict[str, Any]:
    """One event: what it says, and why it is of high risk: the rules apart from AI."""
    said, readings = told["said"], told["readings"]
    who = said.get("who") if isinstance(said.get("who"), dict) else {}
    return {
        "record": label(row["id"]),
        "event_time": iso_of(told["event_time"]),
        "recorded": iso_of(told["appended_at"]),
        "counted": iso(row["counted_us"]),
        "late": row["late"],
        "event_type": text_in(said, "type"),
        "event_id": text_in(said, "id"),
        "subject": text_in(said, "subject"),
        "source": text_in(said, "source"),
        "summary": _summary(said, readings),
        "by": row["by"] or "rules",
        "risk": _risk(row["risk"]),
        "risk_floor": _risk(row["floor"]),
        "risk_ai": _risk(row["ai"]),
        "tags": list(row["tags"]),
        "who": {name: text_in(who, name) for name in _WHO if who.get(name)},
        "rules": [hit._asdict() for hit in read_hits(json.dumps(said.get("rules")))],
        "ai": [_reading(one) for one in readings],
        "review": "open" if review is None else review,
        "place": {
            "topic_id": told["topic_id"],
            "partition": told["partition"],
            "source_offset": told["source_offset"],
        },
        "erased": told["erased"],
        "cites": cites(row["id"]),
    }


def _summary(said: Mapping[str, Any], readings: Sequence[Mapping[str, Any]]) -> str:
    """The latest text: of AI where it gave one, else of the enrichment; of a message that cannot be read why."""
    latest = text_in(_object(readings[0].get("said")), "summary") if readings else ""
    return latest or text_in(said, "reason") or text_in(said, "summary")


def _reading(one: Mapping[str, Any]) -> dict[str, Any]:
    said = _object(one.get("said"))
    return {
        name: text_in(said, name)
        for name in ("model", "prompt_version", "risk", "summary", "evidence", "why")
        if said.get(name)
    } | {"cites": cites(one.get("id"))}


def _risk(level: int | None) -> str | None:
    return None if level is None else RISKS[level - 1]


def _object(value: Any) -> dict[str, Any]:
    parsed = json.loads(value) if isinstance(value, str) else value
    return parsed if isinstance(parsed, dict) else {}


def _list(value: Any) -> list[dict[str, Any]]:
    parsed = json.loads(value) if isinstance(value, str) else value
    return [one for one in parsed if isinstance(one, dict)] if isinstance(parsed, list) else []
