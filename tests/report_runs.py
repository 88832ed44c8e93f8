"""The reporter in this process: editions by hand, and its loop turn by turn, with a clock that the test sets."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from prometheus_client import CollectorRegistry

from services.common.settings import KafkaSettings
from services.reporter.formats import FORMATS
from services.reporter.period import microseconds
from services.reporter.runs.by_hand import Wanted, build_by_hand
from services.reporter.runs.configuration import Configuration
from services.reporter.runs.loop import Runs, RunsMetrics
from services.reporter.runs.own_events import SystemTopic
from services.reporter.runs.settings import RunsSettings
from services.reporter.settings import VerifySettings
from services.reporter.verify import NO_EVIDENCE
from tests.sealing import NOWHERE

RECIPIENT = '{name: archive, role: records, target: "directory:.", detail: full}'


def schedules_file(folder: Path, *schedules: str) -> Path:
    """reports.yaml with these schedules; each has a recipient where it names none."""
    told = [one if "recipients" in one else f"{one}, recipients: [{RECIPIENT}]" for one in schedules]
    file = folder / "reports.yaml"
    file.write_text("schedules:\n" + "".join(f"  - {{{one}}}\n" for one in told))
    return file


async def by_hand(dsn: str, period: str | None, out: Path, formats=tuple(FORMATS), **options):
    """An edition as `piperoll report build` makes it where no broker is: what was built, and its document."""
    built = await build_by_hand(
        dsn,
        Wanted(period, "tests"),
        out,
        [*formats, "json"],
        configuration=Configuration(schedules=[]),
        topic=SystemTopic(NOWHERE),
        **{"evidence": NO_EVIDENCE} | options,
    )
    return built, json.loads((out / "report.json").read_text())


class Reporting:
    """`turn("2026-11-01T02:00Z")`: one turn of a reporter at that time."""

    def __init__(
        self,
        kafka: KafkaSettings,
        dsn: str,
        folder: Path,
        file: Path,
        checkpoints: str = "",
        proof_wait_s: float = 0,
    ) -> None:
        self.folder = folder / "reports"
        self.registry = CollectorRegistry()
        self.now_us = 0
        self.runs = Runs(
            kafka,
            dsn,
            RunsSettings(file=file, folder=self.folder, proof_wait_s=proof_wait_s),
            VerifySettings(checkpoints=checkpoints),
            RunsMetrics(self.registry),
            lambda: self.now_us,
        )

    async def turn(self, at: str) -> None:
        self.now_us = microseconds(datetime.fromisoformat(at))
        await self.runs.turn()

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def delivered(self) -> list[str]:
        """The editions that are in the folder."""
        return sorted(
            str(path.parent.relative_to(self.folder))
            for path in self.folder.rglob("edition.json")
            if ".new-" not in str(path)
        )

    def close(self) -> None:
        self.runs._close()
