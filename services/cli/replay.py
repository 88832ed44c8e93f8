"""`piperoll replay`: has events read again. What is recorded already is not recorded twice: the writer knows it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer

from services.cli.dead_letters import DeadLetter, Reader
from services.cli.declaring import declaration
from services.cli.group_offsets import EnricherGroup, open_group
from services.cli.holes import Head, Log, Rewind, find_holes, rewind
from services.cli.producing import Place, open_producer, send_all
from services.cli.resending import Resent, resend
from services.cli.target import errors_told, say, target_variables
from services.common.errors import ConfigurationError, TransientError
from services.common.queries import load_queries
from services.common.settings import KafkaSettings, PostgresSettings, read_settings
from services.reporter.escape import visible
from services.reporter.store import open_snapshot, translated

app = typer.Typer()
replay = typer.Typer(
    help="Have events read again: from a hole on, or out of the dead letters.", no_args_is_help=True
)
app.add_typer(replay, name="replay")
QUERIES = load_queries(Path(__file__).with_name("replay.sql"))
AsJson = Annotated[bool, typer.Option("--json", help="As one JSON object.")]
Partition = Annotated[int | None, typer.Option(min=0, help="Of audit.events.")]


@replay.command("offsets")
def offsets(
    partition: Partition = None,
    offset: Annotated[int | None, typer.Option(min=0, help="The first offset to be read again.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Forward too: what lies between is then not enriched.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Set the enricher's group back, while no enricher runs; start them again afterwards.

    Without --partition and --offset: wherever a chain stands behind what the group has committed although the writer
    has read everything, back to where the chain ends. That is what the alert `enriched_hole` asks for.

    Exit status: 0 done, or nothing to do; 1 with --dry-run: there is something to do; 2 could not, or not everywhere.
    """
    with errors_told():
        if (partition is None) != (offset is None):
            raise ConfigurationError("--partition and --offset go together")
        variables = target_variables("piperoll_reporter")
        settings = read_settings(KafkaSettings, variables)
        with open_group(settings) as group:
            if not dry_run:
                group.require_no_members()
            ids, logs = group.ids(), group.logs()
            unjudged: list[str] = []
            if partition is not None and offset is not None:
                rewinds = _chosen(logs, ids.events, partition, offset, force=force)
            else:
                heads = _heads(read_settings(PostgresSettings, variables).dsn, settings.topics.events)
                rewinds, unjudged = find_holes(logs, heads, ids)
            if rewinds and not dry_run:
                _set(settings, group, rewinds, ids.events)
            _tell_offsets(group.name, rewinds, unjudged, dry_run=dry_run, as_json=as_json)
    raise typer.Exit(2 if unjudged else int(dry_run and bool(rewinds)))


def _chosen(logs: list[Log], topic_id: bytes, partition: int, offset: int, *, force: bool) -> list[Rewind]:
    """The partition that was named. Raises ConfigurationError where that would pass over events."""
    log = next((log for log in logs if log.partition == partition), None)
    if log is None:
        raise ConfigurationError(f"audit.events has no partition {partition}: it has {len(logs)}")
    committed = log.committed if log.committed_id in ("", topic_id.hex()) else None
    if committed == offset:
        return []
    if not force and (committed is None or offset > committed):
        stands = "nothing, and begins at the start" if committed is None else f"{committed}"
        raise ConfigurationError(
            f"the group has committed {stands} in partition {partition}: {offset} lies ahead, and what lies between "
            "would not be enriched; --force does it all the same"
        )
    return [rewind(log, offset)]


def _heads(dsn: str, topic: str) -> dict[int, Head]:
    async def ask() -> dict[int, Head]:
        async with open_snapshot(dsn) as snapshot:
            with translated():
                rows = await snapshot.connection.fetch(QUERIES["heads"], topic)
        return {row["partition"]: Head(*list(row.values())[1:]) for row in rows}

    return asyncio.run(ask())


def _set(settings: KafkaSettings, group: EnricherGroup, rewinds: list[Rewind], topic_id: bytes) -> None:
    _declare(settings, "offsets", {"group": group.name, "set": [_as_facts(rewind) for rewind in rewinds]})
    group.set(rewinds, topic_id)


def _declare(settings: KafkaSettings, what: str, about: dict[str, Any]) -> None:
    """An own event on audit.system, before anything is done. Raises TransientError where it is not durable."""
    message = declaration(
        f"replay-{uuid4()}", about, source="piperoll/replay", kind=f"piperoll.replay.{what}"
    )
    with open_producer(settings, "piperoll-replay") as producer:
        (outcome,) = send_all(producer, settings.topics.system, [message])
    if isinstance(outcome, str):
        raise TransientError(f"audit.system did not take that this was done, so it was not: {outcome}")


def _as_facts(rewind: Rewind) -> dict[str, int | None]:
    return rewind._asdict()


def _tell_offsets(
    group: str, rewinds: list[Rewind], unjudged: list[str], *, dry_run: bool, as_json: bool
) -> None:
    for line in unjudged:
        say(f"piperoll: {line}")
    if as_json:
        found = [_as_facts(rewind) for rewind in rewinds]
        print(json.dumps({"group": group, "set": found, "unjudged": unjudged, "dry_run": dry_run}, indent=1))
        return
    for made in rewinds:
        verb = "would be set" if dry_run else "set"
        print(f"partition {made.partition}: {verb} from {made.committed} to {made.offset}")
        if made.expired_before is not None:
            say(f"  {made.offset} to {made.expired_before - 1} have expired: they will be recorded as lost")
    if rewinds and not dry_run:
        say("start the enrichers again")
    if not rewinds and not unjudged:
        print("nothing to set back")


@replay.command("dead-letters")
def dead_letters(
    list_only: Annotated[bool, typer.Option("--list", help="Only list them.")] = False,
    partition: Partition = None,
    offset: Annotated[int | None, typer.Option(min=0, help="Of the event in audit.events.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Send all of them again.")] = False,
    reason: Annotated[str, typer.Option(help="Of these only those whose reason contains this.")] = "",
    as_json: AsJson = False,
) -> None:
    """List dead letters, or send them again to audit.events once their cause is gone.

    They keep key, value and headers, and get the header piperoll-replays. The poison record stays; a letter that is
    still poison becomes another one. What is recorded already becomes a duplicate.

    Exit status: 0 all sent (or listed), 1 some could not be sent, 2 could not try.
    """
    with errors_told():
        if (partition is None) != (offset is None):
            raise ConfigurationError("--partition and --offset go together")
        if [list_only, everything, partition is not None].count(True) != 1:
            raise ConfigurationError("say which: --list, --all, or --partition and --offset of one event")
        settings = read_settings(KafkaSettings, target_variables())
        with Reader.open(settings) as reader:
            letters = _selected(reader, partition, offset, reason)
            if list_only:
                _list(letters, as_json=as_json)
                return
            about = {"partition": partition, "offset": offset, "all": everything, "reason": reason}
            resent = _resend(settings, letters, about)
    _tell_resent(resent, as_json=as_json)
    raise typer.Exit(1 if any(isinstance(one.outcome, str) for one in resent) else 0)


def _selected(reader: Reader, partition: int | None, offset: int | None, reason: str) -> Iterator[DeadLetter]:
    foreign = 0
    for letter in reader.letters():
        if letter is None:
            foreign += 1
        elif reason in letter.reason and (partition is None or letter.origin[1:] == (partition, offset)):
            yield letter
    if foreign:
        say(f"piperoll: {foreign} messages of audit.dead-letters are not the enricher's and were left out")


def _resend(settings: KafkaSettings, letters: Iterator[DeadLetter], about: dict[str, Any]) -> list[Resent]:
    first = next(letters, None)
    if first is None:
        return []
    with open_group(settings) as group:
        topic_id = group.ids().events
    _declare(settings, "dead-letters", about)
    with Reader.open(settings) as again, open_producer(settings, "piperoll-replay") as producer:
        return resend(
            chain((first,), letters),
            again.event,
            producer,
            settings.topics.events,
            topic_id,
            settings.event_limit,
        )


def _list(letters: Iterator[DeadLetter], *, as_json: bool) -> None:
    found = [_letter_facts(letter) for letter in letters]
    if as_json:
        print(json.dumps({"dead_letters": found}, indent=1))
        return
    for facts in found:
        size = "withheld" if facts["bytes"] is None else f"{facts['bytes']:,} B"
        again = f" (replays {facts['replays']})" if facts["replays"] else ""
        place = f"{facts['partition']}/{facts['offset']}"
        print(f"{place:<14} {facts['time']}  {size:>12}  {visible(facts['reason'])}{visible(again)}")
    if not found:
        print("no dead letters")


def _letter_facts(letter: DeadLetter) -> dict[str, Any]:
    return {
        "topic_id": letter.origin.topic_id.hex(),
        "partition": letter.origin.partition,
        "offset": letter.origin.offset,
        "time": datetime.fromtimestamp(letter.timestamp_ms / 1000, UTC).isoformat(timespec="seconds"),
        "reason": letter.reason,
        "bytes": None if letter.value is None else len(letter.value),
        "replays": letter.replays,
    }


def _tell_resent(resent: list[Resent], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"replayed": [_resent_facts(one) for one in resent]}, indent=1))
        return
    for origin, outcome in resent:
        sent = (
            f"sent again as offset {outcome.offset}" if isinstance(outcome, Place) else f"not sent: {outcome}"
        )
        print(f"{origin.partition}/{origin.offset}: {visible(sent)}")
    if not resent:
        print("no such dead letter")


def _resent_facts(one: Resent) -> dict[str, Any]:
    found: dict[str, Any] = {
        "topic_id": one.origin.topic_id.hex(),
        "partition": one.origin.partition,
        "offset": one.origin.offset,
    }
    if isinstance(one.outcome, Place):
        return found | {"sent_as": one.outcome.offset, "problem": None}
    return found | {"sent_as": None, "problem": one.outcome}
