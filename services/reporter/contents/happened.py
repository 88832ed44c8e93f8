"""What Piperoll itself did and noticed in the period, from its own events: alerts, outages, erasures, reads, retention, …"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from services.common.alerts import SEVERITIES
from services.reporter.contents.citing import cites, label
from services.reporter.contents.own import data_of, number_in, text_in
from services.reporter.contents.reads import reads
from services.reporter.contents.selection import Selection
from services.reporter.contents.times import iso

MOST_LISTED = 50
_MOST_READ = 1000
"""Alerts that are looked through for the gravest."""
OUTAGES = frozenset(
    (
        "silent_source",
        "enriched_hole",
        "source_expired",
        "chain_begins_late",
        "log_rewound",
        "topic_recreated",
        "sequence_gap",
    )
)
"""Alerts that events may be missing: logging itself failed, or was stopped."""
_ALERT, _DRILL = "alert", "piperoll.drill"
_TYPES = {
    "alerts": _ALERT,
    "erasures": "piperoll.erasure",
    "restores": "piperoll.restore",
    "retentions": "piperoll.retention",
    "backfills": "piperoll.backfill.declared",
    "editions": "piperoll.report.edition",
    "signatures": "piperoll.report.signature",
    "key_changes": "piperoll.key-change",
    "destroyed_keys": "piperoll.key-destruction",
    "passed_by": "piperoll.annotator.passed-by",
}


async def happened(selection: Selection) -> dict[str, Any]:
    """Lists by kind of what happened, each at most 50 long, and under `listed` how many there are of each."""
    rows = await selection.fetch("own", sorted(_TYPES.values()), 0, _MOST_READ)
    by_type: dict[str, list[Any]] = {}
    for row in rows:
        by_type.setdefault(row["type"], []).append(row)
    made: dict[str, Any] = {}
    listed = {}
    for name, kind in _TYPES.items():
        found = by_type.get(kind, [])
        told = [_common(row) | _TOLD[name](data_of(row["said"])) for row in found]
        made[name] = sorted(told, key=_gravest)[:MOST_LISTED] if name == "alerts" else told[:MOST_LISTED]
        listed[name] = {"shown": len(made[name]), "of": found[0]["of"] if found else 0}
        if name == "alerts":
            outages = [one for one in told if one["name"] in OUTAGES]
            made["outages"] = outages[:MOST_LISTED]
            listed["outages"] = {"shown": len(made["outages"]), "of": len(outages)}
    made["reads"], counted = await reads(selection, MOST_LISTED)
    made["drill"] = await _drill(selection)
    made["retention"] = {"orders": made.pop("retentions"), **await _retained(selection)}
    return made | {"listed": listed | counted}


def _common(row: Any) -> dict[str, Any]:
    return {
        "record": label(row["id"]),
        "recorded": iso(row["appended_us"]),
        "source": row["source"] or "",
        "cites": cites(row["id"]),
    }


def _texts(*names: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    return lambda data: {name: text_in(data, name) for name in names}


def _order(data: Mapping[str, Any]) -> dict[str, Any]:
    """Who ordered it and why; how many events or records it names."""
    named = data.get("events") if isinstance(data.get("events"), list) else data.get("records")
    parts = {name: number_in(data, name) for name in ("part", "parts")}
    count = len(named) if isinstance(named, list) else None
    return _texts("by", "reason", "ticket", "request")(data) | parts | {"events": count}


def _month(data: Mapping[str, Any]) -> dict[str, Any]:
    counts = {name: number_in(data, name) for name in ("records", "payloads")}
    return _texts("by", "reason", "ticket", "request", "month", "archive")(data) | counts


def _passed_by(data: Mapping[str, Any]) -> dict[str, Any]:
    return _texts("reason", "model", "prompt_version")(data) | {"count": number_in(data, "count")}


_TOLD: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "alerts": _texts("name", "severity", "text"),
    "erasures": _order,
    "restores": _order,
    "retentions": _month,
    "backfills": _texts("by", "reason", "file"),
    "editions": _texts("edition", "by", "why", "sha256", "verdict"),
    "signatures": _texts("edition", "by", "role", "statement", "sha256", "reason"),
    "key_changes": _texts("by", "reason", "old", "new"),
    "destroyed_keys": _texts("by", "reason", "ticket", "request", "key", "rows"),
    "passed_by": _passed_by,
}


def _gravest(alert: Mapping[str, Any]) -> int:
    """The order of alerts: the gravest first, else as they came."""
    severity = alert["severity"]
    return -SEVERITIES.index(severity) if severity in SEVERITIES else 1


async def _drill(selection: Selection) -> dict[str, Any] | None:
    """The last drill on record below the cut, whenever it was."""
    rows = await selection.fetch_below("own_below", [_DRILL], 20)
    for row in rows:
        data = data_of(row["said"])
        if not isinstance(data.get("passed"), bool):
            continue
        slowest = data.get("slowest_seconds")
        return _common(row) | {
            "passed": data["passed"],
            "attacks": number_in(data, "attacks"),
            "detected": number_in(data, "detected"),
            "slowest_seconds": slowest if isinstance(slowest, int | float) else None,
            "missed": [one for one in data.get("missed") or [] if isinstance(one, str)][:MOST_LISTED],
        }
    return None


async def _retained(selection: Selection) -> dict[str, Any]:
    """Until when payloads were retained away, by the orders below the cut."""
    rows = await selection.fetch_below("own_below", [_TYPES["retentions"]], _MOST_READ)
    months = [month for row in rows if (month := text_in(data_of(row["said"]), "month"))]
    return {"payloads_gone_to_the_end_of": max(months, default=None)}
