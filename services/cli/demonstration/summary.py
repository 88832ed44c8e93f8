"""The last page of the demo: what came of the month, and where to look further."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from deploy.local.home import Home
from deploy.local.state import State
from schemas.enrichment import RISKS
from services.cli.demo_month.incident import STEPS
from services.cli.demo_month.month import DemoMonth
from services.cli.demonstration.check import Event, Findings
from services.cli.demonstration.evidence import Evidence
from services.cli.demonstration.recording import MonthRecorded
from services.cli.demonstration.screen import Screen

_STYLES = {"critical": "bold red", "high": "red", "medium": "yellow"}
_SHOWN = 5
_QUERY = "SELECT event_time, risk, ai_summary FROM audit_events WHERE risk IN ('high', 'critical') ORDER BY 1"
_EVENT = (
    '{"event_type":"data_export","event_data":{"user_id":42,"dataset_id":"ds-99",'
    '"export_time":"2026-05-01T12:00:00Z","export_reason":"regulator request"}}'
)
ALARMING = ("high", "critical")
MUST_ALARM = ("role", "key", "log", "export")
"""Steps that no one may overlook. The others look like everyday changes, one by one."""


class Shown(NamedTuple):
    """All that the page is made of."""

    made: DemoMonth
    recorded: MonthRecorded
    findings: Findings
    evidence: Evidence
    home: Home
    state: State

    @property
    def wrong(self) -> list[str]:
        """A line for each thing that is not as it should be."""
        verdict = self.findings.verdict
        return [
            *(f"lost: {name}" for name in verdict.lost),
            *(f"doubled: {name}" for name in verdict.doubled),
            *verdict.mistaken,
            *(f"refused by ingest: {reason}" for reason in self.recorded.refused),
            *self.evidence.wrong,
            *(f"the incident: {STEPS[step]}: not rated high" for step in unnoticed(self.findings.incident)),
        ]

    @property
    def good(self) -> bool:
        return not self.wrong


def unnoticed(incident: dict[str, list[Event]]) -> list[str]:
    """Steps that must alarm and of which no event was rated high."""
    return [
        step for step in MUST_ALARM if not any(event.risk in ALARMING for event in incident.get(step, []))
    ]


def show_summary(screen: Screen, shown: Shown, *, stay: bool) -> None:
    """`stay`: broker, database and services stay up behind it, so that one can look further."""
    screen.gap()
    _counts(screen, shown)
    _incident(screen, shown)
    screen.gap()
    if shown.good:
        screen.fact("result", "every event recorded exactly once, every chain verified", good=True)
    for line in shown.wrong[:_SHOWN]:
        screen.fact("wrong", line, good=False)
    if len(shown.wrong) > _SHOWN:
        screen.fact("wrong", f"and {len(shown.wrong) - _SHOWN:,} more", good=False)
    screen.gap()
    screen.fact("edition", f"{shown.evidence.edition}, SHA-256 {shown.evidence.sha256}, on record")
    screen.path("report", _short(shown.evidence.report))
    screen.path("logs", _short(shown.home.folder / "logs"))
    screen.gap()
    if stay:
        _look_further(screen, shown)
    else:
        screen.note("to look further: the demo without EXIT=1 (--exit) stays up")


def _counts(screen: Screen, shown: Shown) -> None:
    recorded, verdict, kinds = shown.recorded, shown.findings.verdict, shown.findings.kinds
    over_http = recorded.batched + len(recorded.singles)
    total = len(recorded.sent) + over_http
    screen.fact("events in", f"{total:,}   {len(recorded.sent):,} through Kafka, {over_http:,} over HTTP")
    names = {1: "events", 2: "duplicates", 3: "poison", 4: "skips"}
    there = ", ".join(f"{kinds[kind]:,} {name}" for kind, name in names.items() if kinds[kind])
    wanted = Counter(message.fate for message in shown.made.messages)
    expected = kinds[2] == wanted["duplicate"] and kinds[3] == wanted["poison"]
    sent = "" if expected else f": {wanted['duplicate']:,} repeats and {wanted['poison']} unreadable messages"
    screen.fact(
        "recorded",
        f"{there}   ({'as' if expected else 'not as'} sent{sent})",
        good=None if expected else False,
    )
    text = f"{len(verdict.lost):,} lost, {len(verdict.doubled):,} doubled, {len(verdict.mistaken):,} mistaken"
    screen.fact("identity", text, good=verdict.good)
    chains = f"{shown.evidence.chains} verified, {shown.evidence.records:,} records, {shown.evidence.sealed:,} of them sealed"
    screen.fact("chains", chains, good=not shown.evidence.wrong)
    risks = shown.findings.risks
    levels = ", ".join(f"{risks[risk]:,} {risk}" for risk in reversed(RISKS[1:]) if risks[risk])
    alarming = sum(risks[risk] for risk in ALARMING)
    screen.fact("high risk", f"{alarming:,} events   ({levels})")


def _incident(screen: Screen, shown: Shown) -> None:
    incident = shown.findings.incident
    found = [event for events in incident.values() for event in events]
    sent = sum(1 for message in shown.made.messages if message.story and message.fate == "event")
    alarming = sum(1 for event in found if event.risk in ALARMING)
    screen.gap()
    screen.fact("incident", f"{len(found)} of its {sent} events recorded, {alarming} rated high or critical")
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right")
    for step, what in STEPS.items():
        events = incident.get(step, [])
        risk = max((event.risk for event in events), key=RISKS.index, default="informational")
        table.add_row(str(len(events)), Text(risk, _STYLES.get(risk, "dim")), _when(events), Text(what))
    screen.table(table)


def _when(events: list[Event]) -> Text:
    if not events:
        return Text("")
    first = min(event.time for event in events)
    return Text(datetime.fromtimestamp(first.timestamp(), UTC).strftime("%a %d %H:%M"), "dim")


def _look_further(screen: Screen, shown: Shown) -> None:
    screen.note("look further, in another terminal here:")
    screen.gap()
    screen.command(f"export $(PIPEROLL_HOME={_short(shown.home.folder)} {_program()} env)")
    screen.command(f'psql "$DATABASE_URL" -c "{_QUERY}"')
    screen.command(f"curl \"$INGEST_URL/audit\" -H 'Content-Type: application/json' -d '{_EVENT}'")


def _program() -> str:
    """How the user calls `piperoll`."""
    return "piperoll" if shutil.which("piperoll") else str(_short(Path(sys.argv[0]).resolve()))


def _short(path: Path) -> Path:
    """Relative to the working folder where it lies in it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
