"""The chains verified and the report built, by the reporter's own functions and in one snapshot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from services.cli.demo_month.days import Month
from services.reporter import build, period


class Evidence(NamedTuple):
    """What verification says: how many chains and records, and a line for each thing that is wrong; and where the
    report's page is."""

    chains: int
    records: int
    wrong: list[str]
    report: Path


def build_evidence(dsn: str, month: Month, folder: Path, say: Callable[[str], None]) -> Evidence:
    """Recomputes every chain from its leaves and reports on the month. Raises TransientError where the database does
    not answer, FatalError where the folder cannot be written."""

    def progress(done: int, total: int) -> None:
        say(f"{done:,} of {total:,} records")

    built = asyncio.run(build.build_report(dsn, period.month(str(month)), folder, progress=progress))
    found = built.report.verification
    wrong = [finding.sentence() for finding in found.findings]
    return Evidence(len(found.chains), found.records, wrong, built.paths[0])
