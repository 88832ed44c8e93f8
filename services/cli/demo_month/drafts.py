"""An event as it is thought of, before it has an id, a sequence number and bytes."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from services.cli.demo_month.company import DOMAIN

IDENTITY = f"https://id.{DOMAIN}"
PORTAL = f"https://portal.{DOMAIN}"
TRIAGE = f"https://triage.{DOMAIN}"
EXPORTS = f"https://exports.{DOMAIN}"
ADMIN = f"https://admin.{DOMAIN}"
DELIVERY = f"https://ci.{DOMAIN}"
LEDGER = f"https://ledger.{DOMAIN}"

Form = Literal["structured", "binary", "short", "bare"]
Route = Literal["kafka", "batch", "audit"]
"""How it is sent: produced to the topic, in a batch to POST /v1/events, or alone to POST /audit."""


class Draft(NamedTuple):
    """`at`: milliseconds since 1970 UTC. `key`: the partition key. `story`: the step of the incident it belongs to,
    empty for everyday events. `flaw`: what is wrong with it on purpose."""

    at: int
    source: str
    type: str
    subject: str
    data: Any
    key: str
    form: Form = "structured"
    route: Route = "kafka"
    story: str = ""
    flaw: Literal["", "incomplete", "unknown"] = ""
