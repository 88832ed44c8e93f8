"""Alerts: what one says, how it is named, and its two forms.

An alert goes to audit.alerts, from where it is sent out, and as an event of our own to audit.system, where it becomes a
record. Its id follows from what it is about, so that saying it twice is saying it once: the writer drops a repeat on
audit.system by its id, and so must whoever reads audit.alerts.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import msgspec

from schemas.text import neutral

Severity = Literal["low", "medium", "high", "critical"]
SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high", "critical")
"""Lowest first."""
_TEXT_LIMIT, _NAME_LIMIT, _FACT_LIMIT = 2000, 100, 500


class Alert(NamedTuple):
    """One alert. `name` is its kind in snake case; `facts` are what `text` says, for programs."""

    id: str
    severity: Severity
    name: str
    text: str
    facts: dict[str, object]


class Said(msgspec.Struct):
    """An alert as it stands on audit.alerts. `at_us`: microseconds since 1970 UTC."""

    id: str
    severity: Severity
    name: str
    text: str
    at_us: int
    facts: dict[str, Any] = {}
    source: str = ""


def as_message(alert: Alert, source: str, now_us: int) -> bytes:
    """The message for audit.alerts."""
    facts = {name: fact for name, fact in alert.facts.items() if name not in alert._fields}
    return msgspec.json.encode(
        Said(alert.id, alert.severity, alert.name, alert.text, now_us, facts, source=source)
    )


def as_own_event(alert: Alert, source: str, now_us: int) -> bytes:
    """The CloudEvent for audit.system."""
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": alert.id,
            "source": source,
            "type": "alert",
            "time": datetime.fromtimestamp(now_us / 1_000_000, UTC).isoformat(),
            "datacontenttype": "application/json",
            "data": {"severity": alert.severity, "name": alert.name, "text": alert.text, **alert.facts},
        }
    )


def read_alert(value: bytes) -> Said:
    """What stands on audit.alerts, with texts neutral and cut, since alerts name what events claim. Raises ValueError."""
    try:
        said = msgspec.json.decode(value, type=Said)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not an alert: {error}") from None
    said.name, said.id = neutral(said.name, _NAME_LIMIT), neutral(said.id, _FACT_LIMIT)
    said.text, said.source = neutral(said.text, _TEXT_LIMIT), neutral(said.source, _NAME_LIMIT)
    said.facts = {neutral(name, _NAME_LIMIT): _cut(fact) for name, fact in list(said.facts.items())[:50]}
    return said


def severity_at_least(severity: Severity, least: Severity) -> bool:
    """Whether an alert of `severity` is as grave as `least`."""
    return SEVERITIES.index(severity) >= SEVERITIES.index(least)


def _cut(fact: Any) -> Any:
    """A fact that is no plain value becomes its JSON."""
    if fact is None or isinstance(fact, bool | int | float):
        return fact
    text = fact if isinstance(fact, str) else msgspec.json.encode(fact).decode()
    return neutral(text, _FACT_LIMIT)
