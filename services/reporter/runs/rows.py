"""What stands in schema report, as objects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from services.reporter.document import Inputs
from services.reporter.formats import Detail
from services.reporter.runs.calendar import Span


class Run(NamedTuple):
    """One period of a schedule. `due` None: nobody waits for it."""

    id: int
    schedule: str
    label: str
    span: Span
    time_zone: str
    calendar: dict[str, Any]
    due: datetime | None
    tries: int = 0
    last_error: str | None = None
    late_at: datetime | None = None

    @property
    def name(self) -> str:
        """`monthly/2026-10`."""
        return f"{self.schedule}/{self.label}"


class Edition(NamedTuple):
    """One edition of a run. `sha256` in hex is that of its canonical JSON, `parts` those of its keys' values; `counts` are its
    numbers by name, `differs` those that are others than in the edition that it replaces."""

    id: str
    run: int
    number: int
    replaces: str | None
    why: str | None
    made_by: str
    made_at: datetime
    inputs: Inputs
    sha256: str
    size: int
    parts: dict[str, str]
    counts: dict[str, int | float]
    differs: list[dict[str, Any]]
    good: bool
    verdict: str
    recorded_at: datetime | None = None
    replaced_by: str | None = None


class NewIntent(NamedTuple):
    """What is to be delivered to one recipient."""

    kind: str
    recipient: str
    role: str
    target: str
    detail: Detail
    formats: list[str]
    message_id: str


class Intent(NamedTuple):
    """The same, with what became of it so far."""

    id: int
    run: int
    edition: str | None
    kind: str
    recipient: str
    role: str
    target: str
    detail: Detail
    formats: list[str]
    message_id: str
    state: str
    attempts: int
    last_error: str | None
    schedule: str
    label: str


def read_run(row: Mapping[str, Any]) -> Run:
    """A row of report.run."""
    return Run(
        row["id"],
        row["schedule"],
        row["label"],
        Span(row["label"], row["starts"], row["ends"]),
        row["time_zone"],
        json.loads(row["calendar"]),
        row["due"],
        row["tries"],
        row["last_error"],
        row["late_at"],
    )


def read_edition(row: Mapping[str, Any]) -> Edition:
    """A row of report.edition."""
    plain = {
        name: row[name]
        for name in (
            "id",
            "run",
            "number",
            "replaces",
            "why",
            "made_by",
            "made_at",
            "size",
            "good",
            "verdict",
        )
    }
    parsed = {name: json.loads(row[name]) for name in ("parts", "counts", "differs")}
    return Edition(
        **plain,
        **parsed,
        inputs=Inputs.from_json(json.loads(row["inputs"])),
        sha256=row["sha256"].hex(),
        recorded_at=row["recorded_at"],
        replaced_by=row["replaced_by"],
    )
