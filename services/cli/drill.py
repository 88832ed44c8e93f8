"""`piperoll drill`: attacks a shadow copy of what was sealed, and says what of it was found."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer

from deploy.local.ports import free_port
from deploy.local.postgres import Database, execute, stop_database
from deploy.local.postgres_programs import find_programs
from services.cli.checkpoints import gather
from services.cli.declaring import declaration
from services.cli.evidence import checked, progress_bar, reporter_dsn
from services.cli.producing import open_producer, send_all
from services.cli.target import say, target_variables
from services.common.errors import TransientError
from services.common.settings import KafkaSettings, read_settings
from services.reporter.drill.drill import Drilled, run_drill
from services.reporter.drill.shadow import Shadow
from services.writer.migrate import migrate_async

TYPE = "piperoll.drill"


def drill(
    checkpoints: Annotated[
        list[str] | None, typer.Option(help="Find attacks by the checkpoint of this place, as for `verify`.")
    ] = None,
    vkey: Annotated[list[str] | None, typer.Option(help="The key that must have signed.")] = None,
    policy: Annotated[Path | None, typer.Option(help="A tlog-policy file.")] = None,
    times: Annotated[int, typer.Option(min=1, help="How often each attack, at random records.")] = 1,
    seed: Annotated[
        int | None, typer.Option(help="Of the random places; default: another each time.")
    ] = None,
    most_records: Annotated[int, typer.Option(min=10, help="The longest chain that is copied.")] = 20_000,
    shadow: Annotated[
        str,
        typer.Option(
            help="An empty PostgreSQL database to break, owned by a superuser; default: one of its own."
        ),
    ] = "",
    record: Annotated[bool, typer.Option(help="Put the result on record (audit.system).")] = True,
    as_json_object: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Attack a shadow copy of sealed records in every way that the verifier claims to find.

    The database itself is only read. Exit status: 0 every attack was found, named and placed; 1 one was not; 2 the drill
    could not be done.
    """
    with checked():
        evidence, _ = gather(checkpoints or [], vkey or [], policy)
        chosen = secrets.randbits(32) if seed is None else seed
        with _shadow(shadow) as dsn, progress_bar("drilling") as progress:
            asyncio.run(migrate_async(dsn, {}))
            drilled = asyncio.run(
                run_drill(
                    reporter_dsn(),
                    Shadow(dsn),
                    evidence,
                    seed=chosen,
                    times=times,
                    most_records=most_records,
                    progress=progress,
                )
            )
        told = as_json(drilled, chosen)
        if record:
            put_on_record(read_settings(KafkaSettings, target_variables()), told)
    print(json.dumps(told) if as_json_object else "\n".join(as_lines(drilled, chosen)))
    raise typer.Exit(0 if drilled.passed else 1)


def put_on_record(settings: KafkaSettings, told: dict[str, Any]) -> None:
    """The result as an own event. Raises TransientError where audit.system does not take it."""
    message = declaration(f"drill-{uuid4()}", told, source="piperoll/drill", kind=TYPE)
    with open_producer(settings, "piperoll-drill") as producer:
        outcome = send_all(producer, settings.topics.system, [message])[0]
    if isinstance(outcome, str):
        raise TransientError(f"audit.system did not take the drill's result: {outcome}; run it again")


def as_json(drilled: Drilled, seed: int) -> dict[str, Any]:
    """The result: also what is put on record."""
    return {
        "passed": drilled.passed,
        "clean_before": drilled.clean,
        "chain_id": drilled.chain.chain_id.hex(),
        "records": drilled.records,
        "seed": seed,
        "attacks": len(drilled.outcomes),
        "detected": drilled.detected,
        "slowest_seconds": round(drilled.slowest_seconds, 3),
        "missed": sorted({outcome.attack for outcome in drilled.outcomes if not outcome.passed}),
        "detail": drilled.detail[:1000],
    }


def as_lines(drilled: Drilled, seed: int) -> list[str]:
    """A line for each attack that was not found as it should, and the rate."""
    if not drilled.clean:
        return [f"FAILED: the shadow copy did not verify before it was attacked: {drilled.detail}"]
    lines = [
        f"{'ok  ' if outcome.passed else 'MISS'} {outcome.attack}: "
        + (
            f"found in {outcome.seconds:.2f} s"
            if outcome.passed
            else f"found {outcome.found}, named {outcome.named}, placed {outcome.placed}"
        )
        for outcome in drilled.outcomes
    ]
    rate = 100 * drilled.detected / max(len(drilled.outcomes), 1)
    lines.append(
        f"{'PASSED' if drilled.passed else 'FAILED'}: {drilled.detected} of {len(drilled.outcomes)} attacks on "
        f"{drilled.records:,} records found ({rate:.0f} %), the slowest in {drilled.slowest_seconds:.2f} s; seed {seed}"
    )
    return lines


@contextmanager
def _shadow(given: str) -> Iterator[str]:
    """The address of the shadow database: the one given, or that of a server that lives as long as the drill."""
    if given:
        yield given
        return
    folder = Path(tempfile.mkdtemp(prefix="piperoll-drill-"))
    folder.chmod(0o711)  # PostgreSQL does not run as root
    server = Database(folder / "postgres", free_port(), find_programs(), secrets.token_urlsafe(18), fast=True)
    try:
        handle = server.start()
        try:
            server.wait_ready(handle)
            execute(server.dsn(), "CREATE DATABASE shadow")
            say("attacking a copy in a database of its own")
            yield server.dsn("shadow")
        finally:
            stop_database(handle, grace=10)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
