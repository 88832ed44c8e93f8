"""What was taken out of the records below a cut since: why a rebuild may say less than the edition did."""

from __future__ import annotations

from typing import Any

from services.reporter.contents.citing import label
from services.reporter.contents.own import data_of, text_in
from services.reporter.contents.selection import Selection
from services.reporter.contents.times import iso
from services.reporter.inputs import Inputs
from services.reporter.store import Snapshot

_MOST = 1000
_ORDERS = ["piperoll.erasure", "piperoll.retention", "piperoll.restore"]


async def gone_since(snapshot: Snapshot, inputs: Inputs) -> list[dict[str, Any]]:
    """The erasures, retentions and restores recorded from the cut on, the earliest first, at most 1,000: `record`, `what`, `recorded`,
    `by`, `reason`, and `events` that they name (None for a retention, which names the month `until`)."""
    selection = Selection(snapshot, inputs.period, inputs.cut)
    rows = await selection.fetch_below("gone", _ORDERS, _MOST)
    return [_told(row) for row in rows]


def _told(row: Any) -> dict[str, Any]:
    data = data_of(row["said"])
    named = data.get("events") or data.get("records")
    return {
        "record": label(row["id"]),
        "what": row["type"].removeprefix("piperoll."),
        "recorded": iso(row["appended_us"]),
        "by": text_in(data, "by"),
        "reason": text_in(data, "reason"),
        "events": len(named) if isinstance(named, list) else None,
        "until": text_in(data, "month") or None,
    }
