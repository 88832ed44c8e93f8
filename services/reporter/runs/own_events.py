"""What the reporter and its commands put on record: own events on audit.system."""

from __future__ import annotations

import json
from collections.abc import Mapping
from getpass import getuser
from typing import Any

from services.common import system_topic
from services.common.system_topic import SystemTopic
from services.reporter.runs.rows import Edition, Run
from services.reporter.runs.targets import shown

SOURCE = "piperoll/report"
EDITION = "piperoll.report.edition"
FILES = "piperoll.report.files"
SIGNATURE = "piperoll.report.signature"
DELIVERY = "piperoll.report.delivery"
READ = system_topic.READ


def own_event(
    kind: str, identifier: str, data: Mapping[str, Any], now_us: int, source: str = SOURCE
) -> bytes:
    """As system_topic.own_event; a report's where no other source is named."""
    return system_topic.own_event(kind, identifier, data, now_us, source)


def edition_event(edition: Edition, run: Run, now_us: int) -> bytes:
    """That an edition was made, with its hash: from now on a changed one can be told from it."""
    cut = edition.inputs.cut
    data = {
        "edition": edition.id,
        "schedule": run.schedule,
        "period": {
            "label": run.label,
            "start": run.span.start.isoformat(),
            "end": run.span.end.isoformat(),
            "time_zone": run.time_zone,
        },
        "number": edition.number,
        "replaces": edition.replaces,
        "why": edition.why,
        "by": edition.made_by,
        "sha256": edition.sha256,
        "bytes": edition.size,
        "cut": {"seal_no": cut.seal_no, "root": cut.root, "time_us": cut.time_us},
        "good": edition.good,
        "verdict": edition.verdict,
    }
    return own_event(EDITION, f"report-edition:{edition.id}", data, now_us)


def delivery_event(row: Mapping[str, Any], now_us: int) -> bytes:
    """What became of a delivery: to whom, how, what the other side said. Its id follows from the Message-ID, and what became of it."""
    data = {
        name: row[name]
        for name in (
            "edition",
            "kind",
            "recipient",
            "role",
            "detail",
            "formats",
            "message_id",
            "state",
            "attempts",
        )
    }
    data |= {
        "schedule": row["schedule"],
        "period": row["label"],
        "target": shown(row["target"]),
        "sent": None if row["sent_at"] is None else row["sent_at"].isoformat(),
        "receipt": json.loads(row["receipt"] or "null"),
        "error": row["last_error"],
    }
    return own_event(
        DELIVERY, f"report-delivery:{row['message_id'].strip('<>')}:{row['state']}", data, now_us
    )


def user() -> str:
    """The name of the user at this machine, as the system gives it."""
    try:
        return getuser()
    except (KeyError, OSError):
        return "unknown"


__all__ = [
    "DELIVERY",
    "EDITION",
    "FILES",
    "READ",
    "SIGNATURE",
    "SOURCE",
    "SystemTopic",
    "delivery_event",
    "edition_event",
    "own_event",
    "user",
]
