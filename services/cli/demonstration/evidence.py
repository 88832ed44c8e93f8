"""The chains verified against the sealer's checkpoints and an edition of the month's report made, by the reporter's own
functions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from services.cli.demo_month.days import Month
from services.common.errors import ConfigurationError
from services.common.settings import KafkaSettings
from services.reporter.evidence import Evidence as Checkpoints
from services.reporter.evidence import own_policy, read_evidence
from services.reporter.formats import FORMATS
from services.reporter.runs.by_hand import Wanted, build_by_hand
from services.reporter.runs.configuration import Configuration
from services.reporter.runs.own_events import SystemTopic, user
from services.reporter.sealed import read_sealing
from services.reporter.store import open_snapshot

_PATIENCE_S = 60.0
_PAUSE_S = 0.5


class Evidence(NamedTuple):
    """What verification says: how many chains and records, how many of them sealed, and a line for each thing that is
    wrong; the edition of the month's report, its hash, and where its page is."""

    chains: int
    records: int
    sealed: int
    wrong: list[str]
    edition: str
    sha256: str
    report: Path


def build_evidence(
    dsn: str, kafka: KafkaSettings, published: Path, month: Month, folder: Path, say: Callable[[str], None]
) -> Evidence:
    """Waits until everything is sealed, recomputes every chain from its leaves, compares with the published checkpoints
    and makes an edition of the month's report. Raises TransientError where the database does not answer, FatalError where the folder cannot
    be written."""

    def progress(done: int, total: int) -> None:
        say(f"{done:,} of {total:,} records")

    checkpoints = asyncio.run(_sealed(dsn, published, say))
    topic = SystemTopic(kafka)
    built = asyncio.run(
        build_by_hand(
            dsn,
            Wanted(str(month), user()),
            folder,
            tuple(FORMATS),
            configuration=Configuration(schedules=[]),
            evidence=checkpoints,
            topic=topic,
            progress=progress,
            told=say,
        )
    )
    topic.close()
    found, edition = built.verification, built.edition
    wrong = [finding.sentence() for finding in found.findings]
    left = found.records if found.sealing is None else found.sealing.tail_records or 0
    if left:
        wrong.append(f"{left:,} records were not sealed within {_PATIENCE_S:.0f} s")
    if built.unrecorded is not None:
        wrong.append(f"the hash of edition {edition.id} is not on record: {built.unrecorded}")
    elif built.unproved is not None:
        wrong.append(f"no proof of the hashes of the report's files: {built.unproved}")
    return Evidence(
        len(found.chains),
        found.records,
        found.records - left,
        wrong,
        edition.id,
        edition.sha256,
        built.paths[0],
    )


async def _sealed(dsn: str, published: Path, say: Callable[[str], None]) -> Checkpoints:
    """The checkpoints, once they cover every record, or as they are when patience is over."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        checkpoints, left = await _look(dsn, published)
        if not left or time.monotonic() > deadline:
            return checkpoints
        say(f"{left:,} records are not sealed yet")
        await asyncio.sleep(_PAUSE_S)


async def _look(dsn: str, published: Path) -> tuple[Checkpoints, int]:
    try:
        checkpoints = read_evidence([str(published)], own_policy(published), own_key=True)
    except ConfigurationError:  # nothing is published yet
        return Checkpoints(), 1
    async with open_snapshot(dsn) as snapshot:
        sealing = await read_sealing(snapshot, checkpoints)
        rows = await snapshot.fetch("chains")
    sealed = {chain_id: items[-1].size for chain_id, items in sealing.history.chains.items()}
    return checkpoints, sum(max((row["next_seq"] or 0) - sealed.get(row["chain_id"], 0), 0) for row in rows)
