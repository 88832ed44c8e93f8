"""What a user's template can name. `ai_summary`, `high_risk_events`, `events`, `period`, `integrity`, `report`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

NAMES = ("ai_summary", "high_risk_events", "events", "period", "integrity", "report")


def variables_of(document: Mapping[str, Any], events: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The variables for a document: `report` is the whole of it. An event has event_type, event_time, ai_tags, ai_summary, risk,
    source, actor and the rest of what the document says of it; `events` are those of the period that the caller passes."""
    return {
        "ai_summary": " ".join(sentence["text"] for sentence in document["summary"]["sentences"]),
        "high_risk_events": [_event(event) for event in document["high_risk"]["events"]],
        "events": [_event(event) for event in events],
        "period": document["period"],
        "integrity": document["integrity"],
        "report": document,
    }


def _event(event: Mapping[str, Any]) -> dict[str, Any]:
    """With the names that audit_events has too."""
    named = {"ai_tags": event.get("tags", []), "ai_summary": event.get("summary", "")}
    return {**named, **(event.get("who") or {}), **event}
