"""`piperoll verify`, `piperoll report` and `piperoll export`: what the records prove and say."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from services.cli.target import errors_told, target_variables
from services.common.settings import PostgresSettings, read_settings
from services.reporter import verify as verification_of
from services.reporter.account import as_json, as_lines

app = typer.Typer(no_args_is_help=True)
report = typer.Typer(help="Build reports.", no_args_is_help=True)
app.add_typer(report, name="report")


@app.command()
def verify(
    chain: Annotated[
        list[int] | None, typer.Option(help="Only the chain of this number; may be repeated.")
    ] = None,
    leaves_only: Annotated[bool, typer.Option(help="Records and links, without payloads.")] = False,
    processes: Annotated[
        int | None, typer.Option(min=1, help="How many at once; default: one a core.")
    ] = None,
    as_json_object: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Recompute every chain from its records, and say which record is wrong and how.

    Exit status: 0 all is consistent, 1 something is wrong, 2 it could not be verified.
    """
    with _checked(), _progress("verifying") as progress:
        verification = asyncio.run(
            verification_of.verify_database(
                _reporter_dsn(),
                chains=chain,
                contents=not leaves_only,
                processes=processes,
                progress=progress,
            )
        )
    if as_json_object:
        print(json.dumps(as_json(verification)))
    else:
        print("\n".join(as_lines(verification)))
    raise typer.Exit(0 if verification.good else 1)


@contextmanager
def _checked() -> Iterator[None]:
    """What is known to go wrong, told; anything else is 2 as well: a crash must not look like a finding."""
    try:
        with errors_told():
            yield
    except typer.Exit:
        raise
    except Exception:  # noqa: BLE001 - the traceback is printed, the status says "could not check"
        traceback.print_exc()
        raise typer.Exit(2) from None


def _reporter_dsn() -> str:
    return read_settings(PostgresSettings, target_variables("piperoll_reporter")).dsn


@contextmanager
def _progress(what: str) -> Iterator[verification_of.Progress]:
    """A bar on stderr where that is a terminal, else nothing."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _done, _total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
