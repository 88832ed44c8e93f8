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
from services.reporter.contents.selection import Selection
from services.reporter.contents.whole import read_contents
from services.reporter.cutting import find_cut
from services.reporter.document import FORMAT
from services.reporter.evidence import Evidence
from services.reporter.facts_kept import keep_facts
from services.reporter.formats import FORMATS, Extras, render, write_pack
from services.reporter.inputs import BY_HAND, Inputs
from services.reporter.integrity import verdict
from services.reporter.period import Period
from services.reporter.proving import prove_cited
from services.reporter.store import open_snapshot
from services.reporter.verify import NO_EVIDENCE, Verification, verify_snapshot


@dataclass(frozen=True)
class Built:
    """The verification, the document, and the files that were written, the pages first."""

    verification: Verification
    document: Mapping[str, Any]
    paths: list[Path]

    @property
    def verdict(self) -> str:
        return verdict(self.verification)


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
            inputs = Inputs(
                BY_HAND,
                period,
                await find_cut(snapshot),
                made_us=clock(),
                software={"piperoll": version("piperoll")},
                integrity=as_json(verification),
            )
            contents, _ = await read_contents(snapshot, inputs)
            attachments = await write_log(Selection(snapshot, period, inputs.cut), folder)
            proofs = await prove_cited(snapshot, [one["record"] for one in contents["cited"]])
        document = {"format": FORMAT} | contents | {"attachments": [item._asdict() for item in attachments]}
        files = [folder / file.name for file in attachments]
        policy = evidence.policy.encode() if evidence.policy.logs else b""
        extras = Extras(proofs, evidence.notes, policy, files)
        paths = [await asyncio.to_thread(write_format, folder, name, document, extras) for name in formats]
    except OSError as error:
        raise FatalError(f"the report cannot be written: {error}") from error
    return Built(verification, document, [*paths, *files])


def write_format(folder: Path, name: str, document: Mapping[str, Any], extras: Extras) -> Path:
    """Writes the file of a format into a folder that is there, and returns its path. Raises OSError."""
    path = folder / FORMATS[name].file
    with replacing(path) as file:
        if name == "pack":
            write_pack(document, extras, file)
        else:
            file.write(render(document, name, extras))
    return path
