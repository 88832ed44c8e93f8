"""Who read what: an intent and an outcome on record are one read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from services.reporter.contents.citing import cites, label
from services.reporter.contents.own import LONGEST, text_in
from services.reporter.contents.selection import Selection
from services.reporter.contents.times import iso

_TYPE = "piperoll.read"
_DAY_US = 86_400_000_000
"""How long after its beginning the outcome of a read is looked for, also beyond the period."""


async def reads(selection: Selection, most: int) -> tuple[list[dict[str, Any]], dict[str, dict[str, int]]]:
    """The reads that began in the period, the earliest first, `most` at most; and how many there are: `reads`, and among them
    `unfinished_reads`, of which no outcome is on record below the cut."""
    rows = await selection.fetch("reads", _TYPE, most, _DAY_US)
    told = [_read(row) for row in rows]
    counts = {
        "reads": {"shown": len(told), "of": rows[0]["of"] if rows else 0},
        "unfinished_reads": {
            "shown": sum(not one["finished"] for one in told),
            "of": rows[0]["unfinished"] if rows else 0,
        },
    }
    return told, counts


def _read(row: Any) -> dict[str, Any]:
    data = json.loads(row["data"])
    return {
        "record": label(row["id"]),
        "recorded": iso(row["appended_us"]),
        "source": row["source"] or "",
        "by": text_in(data, "by"),
        "what": text_in(data, "what"),
        "range": range_in_words(data.get("range")),
        "count": row["count"],
        "finished": row["finished"],
        "cites": cites(row["id"], row["outcome_id"]),
    }


def range_in_words(given: Any) -> str:
    """`edition month/2026-10/1`: what was named, by name and value; what was left open is left out."""
    if not isinstance(given, Mapping):
        return _cut(_words(given))
    named = [_named(str(name).replace("_", " "), value) for name, value in given.items()]
    return _cut(", ".join(one for one in named if one) or ("as by default" if given else ""))


def _named(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"{'with' if value else 'without'} {name}"
    text = _words(value)
    return f"{name} {text}" if text else ""


def _words(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(_words(one) for one in value)
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
