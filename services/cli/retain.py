"""`piperoll retain`: archives the payloads of old months and drops them, by recorded orders; records and tiles stay."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from schemas.own_events import RETENTION
from services.cli.ordering import RecordedOrder, Request, give_orders, make_order, new_request
from services.cli.retention.archives import WRITERS, write_archive
from services.cli.retention.months import Month, due_months, kept_months
from services.cli.target import errors_told, say, target_variables
from services.common.clock import system_clock
from services.common.errors import ConfigurationError
from services.common.settings import KafkaSettings, PostgresSettings, read_settings
from services.reporter.archive_proof import proof_path
from services.reporter.parquet import require_parquet

app = typer.Typer()
SOURCE = "piperoll/retain"


class Retained(NamedTuple):
    """A month that was ordered away: its archive (None: none was wanted), the record, and the payloads still there."""

    month: Month
    archive: Path | None
    sha256: str | None
    unproved: str
    order: RecordedOrder
    left: int


@app.command()
def retain(
    keep: Annotated[str, typer.Option(help="Whole months before the present one to keep, as 13mo or 7y.")],
    archive: Annotated[
        Path | None,
        typer.Option(help="Folder for a file a month and its proof, to be verified later."),
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", help="Of the files: jsonl (gzipped), or parquet (needs an extra).")
    ] = "jsonl",
    no_archive: Annotated[bool, typer.Option("--no-archive", help="Drop them without one.")] = False,
    reason: Annotated[str, typer.Option(help="Why; recorded.")] = "retention period is over",
    ticket: Annotated[str | None, typer.Option(help="A number to find it by; recorded.")] = None,
    by: Annotated[str | None, typer.Option(help="Who orders it; default: the user of this machine.")] = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the writer.")] = 120,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which months would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Archive and drop the payloads (contents, summaries, readings) of months that are over, oldest first.

    Each archive is verified before its month is ordered away, and the order names its SHA-256. Beside it lies NAME.proof, by
    which whoever has only the archive and a key verifies it: `verify --archive FILE --alone --vkey KEY`, or piperoll_verify.py.
    Records, orders, tiles and checkpoints stay: verification stays green and counts what is gone.

    Exit status: 0 done, or nothing due; 1 ordered, and a reader still holds partitions; 2 not done.
    """
    with errors_told():
        if (archive is None) == (not no_archive) and not dry_run:
            raise ConfigurationError("say where to: --archive DIR, or --no-archive")
        if format_ not in WRITERS:
            raise ConfigurationError(f"--format takes {' or '.join(WRITERS)}, not {format_!r}")
        if format_ == "parquet":
            require_parquet()
        variables = target_variables("piperoll_reporter")
        settings = read_settings(KafkaSettings, variables)
        dsn = read_settings(PostgresSettings, variables).dsn
        months = asyncio.run(due_months(dsn, system_clock(), kept_months(keep)))
        if dry_run or not months:
            _tell_due(months, as_json=as_json)
            return
        _confirm(months, yes=yes)
        request = new_request("retention", by, reason, ticket, system_clock())
        done = [_retain(settings, dsn, request, month, archive, format_, wait) for month in months]
    _tell(done, as_json=as_json)
    raise typer.Exit(1 if any(one.left for one in done) else 0)


def _retain(
    settings: KafkaSettings,
    dsn: str,
    request: Request,
    month: Month,
    folder: Path | None,
    format_: str,
    patience_s: float,
) -> Retained:
    path, digest, unproved = None, None, ""
    if folder is not None:
        path, digest, unproved = write_archive(dsn, month, folder, format_)
    facts = {"month": month.name, "records": month.records, "payloads": month.payloads, "archive": digest}
    (order,) = give_orders(settings, dsn, make_order(RETENTION, SOURCE, request, facts), patience_s)
    return Retained(month, path, digest, unproved, order, _await_dropped(dsn, month))


def _await_dropped(dsn: str, month: Month, patience_s: float = 5.0) -> int:
    """How many of the month's payloads are left when they are gone, or after a while."""
    deadline = time.monotonic() + patience_s
    while True:
        left = [other for other in _all_months(dsn) if other.name == month.name]
        if not left or time.monotonic() > deadline:
            return sum(other.payloads for other in left)
        time.sleep(0.5)


def _all_months(dsn: str) -> list[Month]:
    return asyncio.run(due_months(dsn, system_clock(), 0))


def _confirm(months: list[Month], *, yes: bool) -> None:
    """Shows what would go and asks. Raises ConfigurationError where nobody can answer."""
    if yes:
        return
    for line in _due_lines(months):
        say(line)
    if not sys.stdin.isatty():
        raise ConfigurationError("nobody can be asked here: say --yes, or look first with --dry-run")
    if not typer.confirm("Drop the payloads of these months for good?", err=True):
        raise typer.Exit(2)


def _due_lines(months: list[Month]) -> list[str]:
    lines = [f"{month.name}: {month.records:,} records, {month.payloads:,} payloads" for month in months]
    return lines or ["no month is due"]


def _tell_due(months: list[Month], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"due": [month._asdict() for month in months]}, indent=1))
    else:
        print("\n".join(_due_lines(months)))


def _tell(done: list[Retained], *, as_json: bool) -> None:
    if as_json:
        months = [
            {
                **one.month._asdict(),
                "archive": None if one.archive is None else str(one.archive),
                "sha256": one.sha256,
                "proof": None if one.archive is None or one.unproved else str(proof_path(one.archive)),
                "record": {"id": one.order.id, "record_hash": one.order.record_hash.hex()},
                "payloads_left": one.left,
            }
            for one in done
        ]
        print(json.dumps({"retained": months}, indent=1))
        return
    for one in done:
        where = "no archive" if one.archive is None else f"{one.archive} (SHA-256 {one.sha256})"
        print(f"{one.month.name}: {one.month.payloads:,} payloads gone by record {one.order.id}; {where}")
        if one.unproved:
            say(
                f"  no proof beside it: {one.unproved}. `verify` with a database still holds it to the chains."
            )
        if one.left:
            say(
                f"  {one.left:,} are left while a reader holds the partition; the writer drops it within the hour"
            )
