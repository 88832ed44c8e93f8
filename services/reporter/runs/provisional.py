"""Documents and files by the report of before, until documents of piperoll-report/v2 and their formats are merged."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from services.reporter.attachments import replacing, write_log
from services.reporter.document import FORMAT, Inputs
from services.reporter.drill.last import last_drill
from services.reporter.figures import read_figures
from services.reporter.period import Period, moment
from services.reporter.render import render_html, render_markdown
from services.reporter.report import Report
from services.reporter.store import Snapshot
from services.reporter.verify import NO_EVIDENCE, Verification, verify_snapshot

_PAGES = {"html": ("report.html", render_html), "md": ("report.md", render_markdown)}


def _period(inputs: Inputs) -> Period:
    return inputs.period if inputs.period.rule == "append" else replace(inputs.period, rule="event")


async def make_document(snapshot: Snapshot, inputs: Inputs) -> dict[str, Any]:
    figures = await read_figures(snapshot, _period(inputs))
    tables = {
        name: {"rows": [row._asdict() for row in table.figures]} for name, table in figures.tables.items()
    }
    for table in tables.values():
        for row in table["rows"]:
            row["share"] = None if row["share"] is None else float(row["share"])
    return head(inputs) | {
        "totals": {
            name: {"events": one.events, "high_risk": one.high} for name, one in figures.single.items()
        },
        "tables": tables,
    }


def head(inputs: Inputs) -> dict[str, Any]:
    period = inputs.period
    return {
        "format": FORMAT,
        "edition": {
            "id": inputs.edition,
            "schedule": inputs.schedule,
            "number": inputs.number,
            "replaces": inputs.replaces,
            "why": inputs.why,
            "by": inputs.by,
            "differs": inputs.differs,
        },
        "period": {
            "label": period.label,
            "start": period.start.isoformat(),
            "end": period.end.isoformat(),
            "time_zone": period.zone,
            "selected_by": period.rule,
        },
        "cut": inputs.cut.as_json(),
        "made": moment(inputs.made_us).isoformat(),
        "software": inputs.software,
        "integrity": inputs.integrity,
    }


async def write_pages(
    dsn: str,
    snapshot: Snapshot,
    inputs: Inputs,
    formats: Collection[str],
    folder: Path,
    verification: Verification | None,
) -> None:
    if verification is None:
        verification = await verify_snapshot(dsn, snapshot, evidence=NO_EVIDENCE)
    period = _period(inputs)
    attachments = await write_log(snapshot, period, folder)
    figures, drill = await read_figures(snapshot, period), await last_drill(snapshot)
    software = " ".join(f"{name} {number}" for name, number in inputs.software.items())
    report = Report(period, inputs.made_us, software, verification, figures, attachments, drill)
    for name, (file, render) in _PAGES.items():
        if name in formats:
            with replacing(folder / file) as out:
                out.write(render(report).encode("utf-8", "backslashreplace"))
