"""`piperoll open`: one event with its encrypted fields in the clear, for whoever has the subjects' keys."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from schemas.commitment import decode_body
from schemas.events import PoisonError
from services.cli.reading import on_record
from services.cli.target import errors_told, say, target_variables
from services.common.errors import ConfigurationError
from services.common.queries import load_queries
from services.common.settings import PostgresSettings, read_settings
from services.common.shredding.keys import SubjectKeys
from services.common.shredding.opening import Opener, State
from services.common.shredding.settings import SubjectKeySettings
from services.reporter.escape import visible
from services.reporter.store import open_snapshot, translated

app = typer.Typer()
QUERIES = load_queries(Path(__file__).with_name("opening.sql"))


@app.command("open")
def open_event(
    record: Annotated[int, typer.Argument(metavar="ID", help="id of the view audit_events.")],
    on_the_record: Annotated[
        bool, typer.Option("--record/--no-record", help="Put on record who opened what (audit.system).")
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="As one JSON object, with what became of each token.")
    ] = False,
) -> None:
    """Print an event with its encrypted fields opened, each checked against its commitment. Needs SUBJECT_KEYS_DIR, the folder
    that encrypted them.

    Exit status: 0 each was opened, or its key was destroyed; 1 one is not what was encrypted; 2 no such event or key.
    """
    with errors_told():
        variables = target_variables("piperoll_reporter")
        folder = read_settings(SubjectKeySettings, variables).folder
        if folder is None:
            raise ConfigurationError("set SUBJECT_KEYS_DIR, the folder of the keys that ingest uses")
        opener = Opener(SubjectKeys(folder, create=False))
        dsn = read_settings(PostgresSettings, variables).dsn
        with on_record("opened event", {"record": record}, record=on_the_record) as found:
            event = asyncio.run(_opened(dsn, record, opener))
            states = Counter(str(field.state) for field in opener.fields)
            found |= {"count": 1, "outcome": dict(states)}
    if as_json:
        fields = [field._asdict() for field in opener.fields]
        print(json.dumps({"id": record, "event": event, "fields": fields}))
    else:
        print(_readable(event))
        for field in opener.fields:
            say(f"{visible(field.place)}: {field.state}{', ' if field.why else ''}{field.why}")
    raise typer.Exit(1 if states[State.BAD] else 2 if states[State.UNKNOWN] else 0)


async def _opened(dsn: str, record: int, opener: Opener) -> Any:
    async with open_snapshot(dsn) as snapshot:
        with translated():
            row = await snapshot.connection.fetchrow(QUERIES["body"], record)
    if row is None:
        raise ConfigurationError(f"{record} is the id of no event: see column id of audit_events")
    if row["body"] is None:
        raise ConfigurationError(f"the content of {record} is gone: erased, or past its retention")
    body = decode_body(row["body"])
    headers = [(name.decode("utf-8", "replace"), content) for name, content in body.headers]
    try:
        return opener.event(body.value, headers)
    except PoisonError as error:
        raise ConfigurationError(f"{record} is no event: {error}") from error


def _readable(event: Any) -> str:
    """Indented JSON in which nothing hides: letters of all languages stay, what cannot be seen is escaped."""
    text = json.dumps(event, ensure_ascii=False, indent=1)
    return "\n".join(visible(line) for line in text.split("\n"))
