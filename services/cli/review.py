"""`piperoll review`: a person says what an event turned out to be; a record that names the event's."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer

from schemas.commitment import identity_hash
from schemas.record import Kind
from schemas.reviews import REVIEW, STATUSES, WITHDRAWS, read_review
from services.cli.declaring import declaration
from services.cli.evidence import checked, reporter_dsn
from services.cli.ordering import RecordedOrder, give_orders
from services.cli.prove import wanted_record
from services.cli.target import target_variables
from services.common.errors import ConfigurationError
from services.common.proofs import Name, Offset, Place, Wanted
from services.common.queries import load_queries
from services.common.settings import KafkaSettings, read_settings
from services.reporter.escape import terminal
from services.reporter.runs.own_events import user
from services.reporter.store import Snapshot, open_snapshot, translated

QUERIES = load_queries(Path(__file__).with_name("review.sql"))
SOURCE = "piperoll/review"


def review(
    event: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="id of the view audit_events, or TOPIC-ID:PARTITION:OFFSET."),
    ] = None,
    status: Annotated[str, typer.Option(help=f"{', '.join(STATUSES)}.")] = "",
    by: Annotated[str, typer.Option(help="Who has reviewed it.")] = "",
    reason: Annotated[
        str, typer.Option(help="Why it is so. Part of the record for good: no personal data.")
    ] = "",
    source: Annotated[
        str | None, typer.Option(help="Instead of ID: the event's source, with --event-id.")
    ] = None,
    event_id: Annotated[str | None, typer.Option(help="The event's own id.")] = None,
    patience: Annotated[float, typer.Option(min=0, help="Seconds to wait until it is recorded.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Say what an event turned out to be: a record of its own, which the view audit_events and every report show.

    `false-positive` takes out of the event's risk what AI alone has said until now; the risk by rules stays.

    Exit status: 0 recorded; 2 not recorded, and why.
    """
    with checked():
        wanted = wanted_record(event, source, event_id)
        settings = read_settings(KafkaSettings, target_variables())
        before = asyncio.run(_look(wanted))
        message = _message(before, status, by, reason)
        [recorded] = give_orders(settings, reporter_dsn(), message, patience)
        after = asyncio.run(_look(Place(before["chain_no"], before["seq"])))
    print(json.dumps(_told(after, recorded)) if as_json else _line(before, after, recorded))


async def _look(wanted: Wanted) -> dict[str, Any]:
    """The event that is meant. Raises ConfigurationError where there is none, or are several."""
    async with open_snapshot(reporter_dsn()) as snapshot:
        places = await _places(snapshot, wanted)
        found = [row for place in places for row in await _fetch(snapshot, "event", *place)]
        if isinstance(wanted, Name):  # a hash may be that of another name
            found = [row for row in found if await _is_named(snapshot, row, wanted)]
        if len(found) == 1:
            return dict(found[0])
        if found:
            numbers = ", ".join(str(row["id"]) for row in found)
            raise ConfigurationError(f"several events are meant: name one by its id: {numbers}")
        kinds = [row["kind"] for place in places for row in await _fetch(snapshot, "kind", *place)]
    if kinds:
        raise ConfigurationError(
            f"that is no event but a record of kind {Kind(kinds[0]).name.lower()}: only events are reviewed"
        )
    raise ConfigurationError("no such event is recorded; `SELECT id FROM audit_events` shows the ids")


async def _places(snapshot: Snapshot, wanted: Wanted) -> list[Place]:
    if isinstance(wanted, Place):
        # beyond 15 bits no chain has a number, and PostgreSQL takes none
        return [wanted] if wanted.chain_no < 2**15 else []
    if isinstance(wanted, Offset):
        rows = await _fetch(snapshot, "placed", *wanted)
    else:
        rows = await _fetch(snapshot, "named", identity_hash(wanted.source, wanted.id))
    return [Place(row["chain_no"], row["seq"]) for row in rows]


async def _is_named(snapshot: Snapshot, row: Any, wanted: Name) -> bool:
    with translated():
        named = await snapshot.connection.fetchrow(
            "SELECT source, event_id FROM audit_events WHERE chain_no = $1 AND seq = $2",
            row["chain_no"],
            row["seq"],
        )
    return named is not None and tuple(named) == (wanted.source, wanted.id)


async def _fetch(snapshot: Snapshot, query: str, *arguments: Any) -> list[Any]:
    with translated():
        rows: list[Any] = await snapshot.connection.fetch(QUERIES[query], *arguments)
        return rows


def _message(found: dict[str, Any], status: str, by: str, reason: str) -> dict[str, Any]:
    """The own event, by its id. Raises ConfigurationError where it makes no sense."""
    _check(found, status, by, reason)
    identifier = f"review-{uuid4()}"
    about = {
        "by": by,
        "user": user(),
        "event": {
            "topic_id": found["topic_id"].hex(),
            "partition": found["partition"],
            "source_offset": found["kafka_offset"],
        },
        "record": f"{found['chain_no']}:{found['seq']}",
        "status": status,
        "reason": reason,
        "before": found["review"],
    }
    message = declaration(identifier, about, source=SOURCE, kind=REVIEW)
    try:
        read_review(message.value or b"")
    except ValueError as error:
        raise ConfigurationError(f"it cannot be recorded so: {error}") from error
    return {identifier: message}


def _check(found: dict[str, Any], status: str, by: str, reason: str) -> None:
    if status not in STATUSES:
        raise ConfigurationError(f"--status is one of {', '.join(STATUSES)}, not {status!r}")
    for name, text in (("by", by), ("reason", reason)):
        if not text.strip():
            raise ConfigurationError(f"--{name} is missing: a review says who has reviewed, and why it is so")
    if status == found["review"]:
        raise ConfigurationError(f"event {found['id']} is {status} already")
    if status == "open" and found["review"] is None:
        raise ConfigurationError(f"event {found['id']} is open: nobody has reviewed it yet")


def _told(after: dict[str, Any], recorded: RecordedOrder) -> dict[str, Any]:
    shown = {name: after[name] for name in ("id", "review", "risk", "risk_floor", "risk_ai")}
    return shown | {
        "record": f"{recorded.chain_no}:{recorded.seq}",
        "record_hash": recorded.record_hash.hex(),
    }


def _line(before: dict[str, Any], after: dict[str, Any], recorded: RecordedOrder) -> str:
    risk = f"its risk stays {after['risk']}"
    if after["risk"] != before["risk"]:
        risk = f"its risk was {before['risk']} and is {after['risk']}"
    elif after["review"] == WITHDRAWS and after["risk"] not in (None, "informational"):
        risk += " (by rules: a review takes back only what AI alone has said)"
    return terminal(
        f"event {after['id']} ({after['event_type']}) is {after['review']}; {risk}. Record {recorded.chain_no}:{recorded.seq}"
    )
