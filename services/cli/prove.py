"""`piperoll prove`: the proof of one record, as a file that is checked offline."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from services.cli.reading import on_record
from services.cli.target import errors_told, say, target_variables
from services.common.errors import ConfigurationError
from services.common.proofs import Name, Proof, State, Wanted, read_wanted
from services.common.settings import PostgresSettings, read_settings
from services.reporter.attachments import replacing
from services.reporter.prove import prove_one

app = typer.Typer()
_STATUS = {State.PROVED: 0, State.BROKEN: 1}


@app.command()
def prove(
    record: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]", help="id of the view audit_events, or TOPIC-ID:PARTITION:OFFSET of a receipt."
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Instead of ID: the event's source, with --event-id.")
    ] = None,
    event_id: Annotated[str | None, typer.Option(help="The event's own id.")] = None,
    content: Annotated[
        bool, typer.Option(help="Put payload and enrichment into the proof, or only that the record exists.")
    ] = True,
    out: Annotated[Path | None, typer.Option(help="File; default: standard output.")] = None,
    on_the_record: Annotated[
        bool,
        typer.Option("--record/--no-record", help="Put on record who was given the proof (audit.system)."),
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Say on standard output, as one JSON object, what became of it.")
    ] = False,
) -> None:
    """Write the proof of one record: the record, its payload, and that both are under a signed checkpoint.

    Whoever gets it checks it without this database: python piperoll_verify.py PROOF --policy POLICY.

    Exit status: 0 written, 1 the record is not as it was sealed, 2 no such record, not sealed yet, or not possible now.
    """
    with errors_told():
        wanted = wanted_record(record, source, event_id)
        if as_json and out is None:
            raise ConfigurationError("--json says what became of the proof: give the proof a file with --out")
        dsn = read_settings(PostgresSettings, target_variables("piperoll_reporter")).dsn
        about = {"record": record, "source": source, "event_id": event_id, "content": content}
        with on_record("proof", about, record=on_the_record) as found:
            proof = asyncio.run(prove_one(dsn, wanted, content=content))
            found["outcome"] = str(proof.state)
            if proof.state is State.PROVED:
                _write(proof, out)
    if as_json:
        print(
            json.dumps({"state": proof.state, "text": proof.text, "file": str(out) if proof.file else None})
        )
    elif proof.state is not State.PROVED:
        say(f"piperoll: {proof.text}")
    raise typer.Exit(_STATUS.get(proof.state, 2))


def wanted_record(record: str | None, source: str | None, event_id: str | None) -> Wanted:
    if record is None and source is not None and event_id is not None:
        return Name(source, event_id)
    if record is None or source is not None or event_id is not None:
        raise ConfigurationError("name one record: its ID, or --source and --event-id of the event")
    wanted = read_wanted(record)
    if wanted is None:
        raise ConfigurationError(f"{record!r} is no ID: a number, or TOPIC-ID:PARTITION:OFFSET")
    return wanted


def _write(proof: Proof, out: Path | None) -> None:
    if out is None:
        sys.stdout.buffer.write(proof.file)
        sys.stdout.flush()
        return
    try:
        with replacing(out) as file:
            file.write(proof.file)
    except OSError as error:
        raise ConfigurationError(f"{out}: {error.strerror}") from error
