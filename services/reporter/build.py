"""Builds a report: verifies, counts in the same snapshot, writes the files."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from services.common.clock import Clock, system_clock
from services.common.errors import FatalError
from services.reporter.apart import Progress
from services.reporter.attachments import replacing, write_log
from services.reporter.drill.last import last_drill
from services.reporter.evidence import Evidence
from services.reporter.figures import read_figures
from services.reporter.formats import FORMATS, Extras, render, write_pack
from services.reporter.period import Period
from services.reporter.proving import prove_cited
from services.reporter.report import Report
from services.reporter.store import open_snapshot
from services.reporter.verify import NO_EVIDENCE, verify_snapshot


@dataclass(frozen=True)
class Built:
    """The report and the files that were written, the pages first."""

    report: Report
    paths: list[Path]


async def build_report(
    dsn: str,
    period: Period,
    folder: Path,
    formats: Collection[str] = tuple(FORMATS),
    *,
    evidence: Evidence = NO_EVIDENCE,
    clock: Clock = system_clock,
    progress: Progress = lambda _done, _total: None,
) -> Built:
    """Writes the report of `period` into `folder`, also where the chains do not verify: then it says so first. `evidence`:
    checkpoints to compare with, read before.
    Raises TransientError, ConfigurationError, or FatalError where the folder cannot be written."""
    try:
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        async with open_snapshot(dsn) as snapshot:
            verification = await verify_snapshot(dsn, snapshot, evidence=evidence, progress=progress)
            figures = await read_figures(snapshot, period)
            attachments = await write_log(snapshot, period, folder)
            drill = await last_drill(snapshot)
            software = f"Piperoll {version('piperoll')}"
            report = Report(period, clock(), software, verification, figures, attachments, drill)
            proofs = await prove_cited(snapshot, [cited.label for cited in report.cited])
        files = [folder / file.name for file in attachments]
        policy = evidence.policy.encode() if evidence.policy.logs else b""
        extras = Extras(proofs, evidence.notes, policy, files)
        document = report.as_json()
        paths = [await asyncio.to_thread(_write, folder, name, document, extras) for name in formats]
    except OSError as error:
        raise FatalError(f"the report cannot be written: {error}") from error
    return Built(report, [*paths, *files])


def _write(folder: Path, name: str, document: dict[str, Any], extras: Extras) -> Path:
    path = folder / FORMATS[name].file
    with replacing(path) as file:
        if name == "pack":
            write_pack(document, extras, file)
        else:
            file.write(render(document, name, extras))
    return path
