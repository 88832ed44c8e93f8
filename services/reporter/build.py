"""Builds a report by hand: keeps up the facts, verifies, counts in the same snapshot, writes the files."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from services.common.clock import Clock, system_clock
from services.common.errors import FatalError
from services.reporter.account import as_json
from services.reporter.apart import Progress
from services.reporter.attachments import replacing, write_log
from services.reporter.contents import read_contents
from services.reporter.cutting import find_cut
from services.reporter.document import FORMAT
from services.reporter.drill.last import last_drill
from services.reporter.evidence import Evidence
from services.reporter.facts_kept import keep_facts
from services.reporter.formats import FORMATS, Extras, render, write_pack
from services.reporter.inputs import BY_HAND, Inputs
from services.reporter.period import Period
from services.reporter.proving import prove_cited
from services.reporter.report import Report, with_lists
from services.reporter.store import open_snapshot
from services.reporter.verify import NO_EVIDENCE, verify_snapshot


@dataclass(frozen=True)
class Built:
    """The report, its document, and the files that were written, the pages first."""

    report: Report
    document: Mapping[str, Any]
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
    counting: Progress = lambda _done, _total: None,
) -> Built:
    """Writes the report of `period` into `folder`, also where the chains do not verify: then it says so first. `evidence`:
    checkpoints to compare with, read before; `progress` of verifying, `counting` of the facts that come first.
    Raises TransientError, ConfigurationError, or FatalError where the folder cannot be written."""
    try:
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        await keep_facts(dsn, progress=counting)
        async with open_snapshot(dsn) as snapshot:
            verification = await verify_snapshot(dsn, snapshot, evidence=evidence, progress=progress)
            software = {"piperoll": version("piperoll")}
            inputs = Inputs(
                BY_HAND,
                period,
                await find_cut(snapshot),
                made_us=clock(),
                software=software,
                integrity=as_json(verification),
            )
            contents, figures = await read_contents(snapshot, inputs)
            attachments = await write_log(snapshot, period, folder)
            drill = await last_drill(snapshot)
            document = (
                {"format": FORMAT} | contents | {"attachments": [item._asdict() for item in attachments]}
            )
            proofs = await prove_cited(snapshot, [cited["record"] for cited in document["cited"]])
        report = Report(
            period,
            inputs.made_us,
            f"Piperoll {software['piperoll']}",
            verification,
            with_lists(figures, document),
            attachments,
            drill,
        )
        files = [folder / file.name for file in attachments]
        policy = evidence.policy.encode() if evidence.policy.logs else b""
        extras = Extras(proofs, evidence.notes, policy, files)
        paths = [await asyncio.to_thread(_write, folder, name, document, extras) for name in formats]
    except OSError as error:
        raise FatalError(f"the report cannot be written: {error}") from error
    return Built(report, document, [*paths, *files])


def _write(folder: Path, name: str, document: Mapping[str, Any], extras: Extras) -> Path:
    path = folder / FORMATS[name].file
    with replacing(path) as file:
        if name == "pack":
            write_pack(document, extras, file)
        else:
            file.write(render(document, name, extras))
    return path
