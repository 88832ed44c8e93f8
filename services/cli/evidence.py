"""`piperoll verify` and `piperoll export`: what the records prove and say."""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from schemas.events import parse_time
from schemas.hashing import NATIVE
from services.cli.checkpoints import gather
from services.cli.reading import on_record
from services.cli.target import errors_told, say, target_variables
from services.common.errors import ConfigurationError
from services.common.settings import PostgresSettings, read_settings
from services.reporter import apart
from services.reporter import verify as verification_of
from services.reporter.account import archive_as_json, archive_as_lines, as_json, as_lines
from services.reporter.archive import verify_alone, verify_archive
from services.reporter.archive_proof import judge_proof
from services.reporter.attachments import replacing
from services.reporter.evidence import read_policy
from services.reporter.export import export_records
from services.reporter.settings import VerifySettings

app = typer.Typer(no_args_is_help=True)


@app.command()
def verify(
    chain: Annotated[
        list[int] | None, typer.Option(help="Only the chain of this number; may be repeated.")
    ] = None,
    leaves_only: Annotated[bool, typer.Option(help="Records and links, without payloads.")] = False,
    processes: Annotated[
        int | None, typer.Option(min=1, help="How many at once; default: one a core.")
    ] = None,
    archive: Annotated[
        Path | None,
        typer.Option(
            help="Verify this file of `piperoll retain` or `export` instead; with --vkey or --policy against the proof beside it."
        ),
    ] = None,
    alone: Annotated[
        bool, typer.Option("--alone", help="The archive by itself, without a database.")
    ] = False,
    checkpoints: Annotated[
        list[str] | None,
        typer.Option(
            help="Compare with the checkpoint of this place: the folder or URL in which the sealer publishes, a file, "
            "`topic`, s3://BUCKET/PREFIX (SEALER_S3_PREFIX), or a time-stamp SIZE.tsr with SIZE.checkpoint beside it; may be "
            "repeated. Default: VERIFY_CHECKPOINTS, else the local stack's. `none`: compare with none."
        ),
    ] = None,
    vkey: Annotated[
        list[str] | None,
        typer.Option(
            help="The key that must have signed (`piperoll seal key`); VKEY@FIRST-LAST: one that is good for these sizes of the "
            "seal log alone."
        ),
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="A tlog-policy file: keys, witnesses, quorum.")] = None,
    tsa_certificate: Annotated[
        Path | None,
        typer.Option(
            help="PEM file with the certificates of the time-stamp authority, its root among them: its stamps count, those "
            "in published folders too. Default: VERIFY_TSA_CERTIFICATE."
        ),
    ] = None,
    since: Annotated[
        Path | None,
        typer.Option(help="Look only at what this trusted checkpoint (a file) does not cover."),
    ] = None,
    as_json_object: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Recompute every chain from its records, compare with signed checkpoints, and say which record is wrong and how.

    Exit status: 0 all is consistent, 1 something is wrong, 2 it could not be verified.
    """
    if archive is not None:
        keys = vkey or [], policy
        raise typer.Exit(_verify_archive(archive, *keys, alone=alone, as_json_object=as_json_object))
    with checked(), progress_bar("verifying") as progress:
        evidence, trusted = gather(checkpoints or [], vkey or [], policy, since, tsa_certificate)
        verification = asyncio.run(
            verification_of.verify_database(
                reporter_dsn(),
                chains=chain,
                contents=not leaves_only,
                processes=processes,
                evidence=evidence,
                since=trusted,
                progress=progress,
            )
        )
    if as_json_object:
        print(json.dumps(as_json(verification) | {"native_hashing": NATIVE}))
    else:
        print("\n".join(as_lines(verification)))
    raise typer.Exit(0 if verification.good else 1)


def _verify_archive(
    path: Path, vkeys: list[str], policy: Path | None, *, alone: bool, as_json_object: bool
) -> int:
    with checked():
        settings = read_settings(VerifySettings, target_variables())
        found = verify_alone(path) if alone else asyncio.run(verify_archive(reporter_dsn(), path))
        keys = read_policy(vkeys or settings.keys, policy or settings.policy)
        judge_proof(path, keys, found, wanted=bool(vkeys or policy))
    print(
        json.dumps(archive_as_json(found))
        if as_json_object
        else "\n".join(archive_as_lines(path.name, found))
    )
    return 0 if found.good else 1


@app.command()
def export(
    since: Annotated[
        str | None, typer.Option(help="Recorded at or after this time (ISO 8601; UTC if no zone).")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Recorded before this time.")] = None,
    event_type: Annotated[str | None, typer.Option("--type", help="Only events of this type.")] = None,
    format_: Annotated[str, typer.Option("--format", help="jsonl")] = "jsonl",
    out: Annotated[Path | None, typer.Option(help="File; default: standard output.")] = None,
    record: Annotated[bool, typer.Option(help="Put on record who exports what (audit.system).")] = True,
) -> None:
    """Write records as JSON lines, with all that is needed to verify them without the database."""
    with checked(), _counting("exporting") as progress:
        if format_ != "jsonl":
            raise ConfigurationError(f"--format takes jsonl, not {format_!r}")
        span = {"since_us": _time_us("--since", since), "until_us": _time_us("--until", until)}
        about = {"since": since, "until": until, "type": event_type}
        with on_record("export", about, record=record) as found:
            with replacing(out) if out is not None else nullcontext(sys.stdout.buffer) as file:
                count = asyncio.run(
                    export_records(reporter_dsn(), file, event_type=event_type, progress=progress, **span)
                )
            found["count"] = count
    say(f"{count:,} records exported")


def _time_us(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_time(text)[0]
    except ValueError as error:
        raise ConfigurationError(
            f"{option}: {error}; a time is as 2026-10-01 or 2026-10-01T12:00:00Z"
        ) from None


@contextmanager
def checked() -> Iterator[None]:
    """What is known to go wrong, told; anything else is 2 as well: a crash must not look like a finding."""
    try:
        with errors_told():
            yield
    except typer.Exit:
        raise
    except Exception:  # noqa: BLE001 - the traceback is printed, the status says "could not check"
        traceback.print_exc()
        raise typer.Exit(2) from None


def reporter_dsn() -> str:
    return read_settings(PostgresSettings, target_variables("piperoll_reporter")).dsn


@contextmanager
def progress_bar(what: str) -> Iterator[apart.Progress]:
    """A bar on stderr where that is a terminal, else nothing."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _done, _total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def _counting(what: str) -> Iterator[Callable[[int], None]]:
    """A counter on stderr where that is a terminal, else nothing."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _done: None
        return
    with console.status(f"{what} …") as status:
        yield lambda done: status.update(f"{what} … {done:,}")
