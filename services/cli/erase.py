"""`piperoll erase`: takes the content of events away for good and leaves a record that proves it."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple, get_args

import typer
from kafka.errors import KafkaError

from services.cli.erasure.certificate import Certificate, as_json, as_lines, found_json, found_lines
from services.cli.erasure.copies import (
    Copy,
    database_copies,
    kafka_copies,
    key_copies,
    look_in,
    marks_of,
    outside_copies,
)
from services.cli.erasure.finding import (
    Field,
    FoundRecord,
    find_about,
    find_ids,
    find_subject,
    places_to_name,
)
from services.cli.erasure.keys import Keyring, Subject
from services.cli.erasure.naming import erase_places, remaining
from services.cli.erasure.waiting import wait_until_passed
from services.cli.ordering import RecordedOrder, Request, new_request
from services.cli.target import errors_told, say, target_variables
from services.common.clock import system_clock
from services.common.errors import ConfigurationError, TransientError
from services.common.kafka import admin_client, topic_configs
from services.common.settings import KafkaSettings, PostgresSettings, read_settings
from services.common.shredding.door import KEY_SECONDS
from services.reporter.settings import ReporterSettings

app = typer.Typer()
_MOST_ROUNDS = 5


@app.command()
def erase(
    subject: Annotated[
        str | None, typer.Option(help="A name, user id or address. Stands in no record afterwards.")
    ] = None,
    field: Annotated[
        str,
        typer.Option(
            help="Where --subject is looked for: actor, subject (of the CloudEvent), key (only what its key encrypted), or any."
        ),
    ] = "any",
    ids: Annotated[
        list[int] | None, typer.Option("--id", help="The id of an event in audit_events; may be repeated.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; recorded for good, so name nobody.")] = "",
    ticket: Annotated[str | None, typer.Option(help="The number of the request; recorded.")] = None,
    by: Annotated[
        str | None, typer.Option(help="Who orders it; recorded. Default: the user of this machine.")
    ] = None,
    look: Annotated[
        list[Path] | None,
        typer.Option("--look-in", help="Folder or file with reports, exports or archives; may be repeated."),
    ] = None,
    key_only: Annotated[
        bool,
        typer.Option(
            "--key-only",
            help="Destroy the subject's key and leave the events: needs neither database nor writer.",
        ),
    ] = False,
    namespace: Annotated[
        str | None, typer.Option(help="Of --subject, where SUBJECT_FIELDS has several.")
    ] = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the writer, at each step.")] = 120,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json_object: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Erase the content of events: payload, salts, summaries and AI readings. Records, times and places stay. Where
    SUBJECT_KEYS_DIR is set the key of --subject is destroyed too, and with it what it encrypted in every copy.

    First waits until everything that the topics hold is recorded, so that nothing is missed. The order, its reason and
    what it names (by coordinates in Kafka) stand on the system chain ever after, and verification stays green.

    Exit status: 0 erased, or nothing found; 1 recorded, but something is left to erase; 2 not erased.
    """
    with errors_told():
        variables = target_variables("piperoll_reporter")
        settings = read_settings(KafkaSettings, variables)
        request = new_request("erasure", by, reason, ticket, system_clock())
        chosen = _chosen(subject, field, ids, (reason, ticket or ""), dry_run=dry_run)
        keyring = Keyring(variables)
        whom = None if subject is None else keyring.subject(subject, namespace)
        job = _Job(settings, keyring, request, whom, chosen, "" if key_only else _dsn(variables), wait)
        key_id = _key_to_destroy(job, key_only=key_only)
        if not key_only:
            wait_until_passed(settings, job.dsn, wait, say)
        found = [] if key_only else asyncio.run(_find(job, ids or []))
        if dry_run or not (found or key_id):
            _tell_found(found, key_id, as_json=as_json_object)
            return
        _confirm(found, key_id, yes=yes)
        found, orders, left = _erase(job, found)
        gone = None
        if key_id is not None:
            rows = "kept" if key_only else "left" if left else "erased"
            gone = keyring.destroy(settings, key_id, request, rows=rows)
            if not key_only:  # what was recorded while all this was done, and while ingest still held the key
                time.sleep(KEY_SECONDS)
                wait_until_passed(settings, job.dsn, wait, say)
                late = [one for one in asyncio.run(_find(job, [])) if one not in found]
                more = _erase(job, late)
                found, orders, left = [*found, *more[0]], [*orders, *more[1]], left + more[2]
        folders = look if look is not None else [read_settings(ReporterSettings, variables).folder]
        copies = _copies(settings, found, subject, folders) if found else []
        certificate = Certificate(request, found, orders, copies + (key_copies() if gone else []), gone)
        if as_json_object:
            print(json.dumps(as_json(certificate), indent=1))
        else:
            print("\n".join(as_lines(certificate)))
    if left:
        say(f"piperoll: {left} payloads are still there: run this again")
        raise typer.Exit(1)


class _Job(NamedTuple):
    """One erasure: whom it is about (None: events by id), where, and how long each step may wait (seconds)."""

    settings: KafkaSettings
    keyring: Keyring
    request: Request
    whom: Subject | None
    field: Field
    dsn: str
    wait_s: float


def _dsn(variables: dict[str, str]) -> str:
    return read_settings(PostgresSettings, variables).dsn


def _key_to_destroy(job: _Job, *, key_only: bool) -> str | None:
    """The id of the subject's key. By actor or CloudEvents subject an erasure is of some events and not of a subject: the key
    stays. Raises ConfigurationError where a key was asked for and there is none."""
    key_id = None if job.whom is None else job.whom.key_id
    if key_id is None and (key_only or job.field == "key"):
        raise ConfigurationError(
            "SUBJECT_KEYS_DIR is not set, or has no key of this subject. Was it destroyed before, or is it in another "
            "--namespace?"
        )
    return key_id if key_only or job.field in ("any", "key") else None


def _chosen(
    subject: str | None, field: str, ids: list[int] | None, said: tuple[str, str], *, dry_run: bool
) -> Field:
    """The field to look in; `said` is reason and ticket. Raises ConfigurationError where the options do not fit
    together."""
    reason, ticket = said
    if (subject is None) == (not ids):
        raise ConfigurationError("say which: --subject TEXT, or --id N (may be repeated)")
    if not reason.strip() and not dry_run:
        raise ConfigurationError("say why: --reason, which is recorded for good (name nobody in it)")
    if subject and any(subject.casefold() in text.casefold() for text in (reason, ticket)):
        raise ConfigurationError("--reason or --ticket names the subject, and stays for good: say it without")
    for known in get_args(Field):
        if field == known:
            chosen: Field = known
            return chosen
    raise ConfigurationError(f"--field takes actor, subject, key or any, not {field!r}")


async def _find(job: _Job, ids: Sequence[int]) -> list[FoundRecord]:
    if job.whom is None:
        found = await find_ids(job.dsn, ids)
    else:
        found = await find_subject(job.dsn, job.whom, job.field)
    return [*found, *await find_about(job.dsn, found)]


def _erase(job: _Job, found: list[FoundRecord]) -> tuple[list[FoundRecord], list[RecordedOrder], int]:
    """Orders until nothing is left: a repeat or a reading may have been recorded while the order was on its way. Returns
    everything erased, the orders' records, and how many payloads are left."""
    if not found:
        return [], [], 0
    orders: list[RecordedOrder] = []
    more = found
    for _ in range(_MOST_ROUNDS):
        orders += erase_places(job.settings, job.dsn, job.request, places_to_name(more), job.wait_s)
        more = asyncio.run(find_about(job.dsn, found))
        if not more:
            break
        found = [*found, *more]
    return found, orders, remaining(job.dsn, found)


def _copies(
    settings: KafkaSettings, found: Sequence[FoundRecord], subject: str | None, folders: Sequence[Path]
) -> list[Copy]:
    admin = admin_client(settings, "piperoll-erase")
    try:
        prefix = settings.topics.group("enricher")
        names = [
            name
            for name in admin.list_topics()
            if name.startswith((f"{settings.topic_prefix}.", f"{prefix}-"))
        ]
        configs = topic_configs(admin, names)
    except KafkaError as error:
        raise TransientError(f"erased, but the topics' retention is not known: {error!r}") from error
    finally:
        admin.close()
    return [
        *kafka_copies(settings.topics, configs, found),
        *look_in(folders, marks_of(found, subject)),
        *database_copies(found),
        *outside_copies(found),
    ]


def _tell_found(found: Sequence[FoundRecord], key_id: str | None, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"found": found_json(found), "key": key_id}, indent=1))
    else:
        print("\n".join([*(found_lines(found) if found else ["nothing found"]), *_key_lines(key_id)]))


def _key_lines(key_id: str | None) -> list[str]:
    return [] if key_id is None else [f"key {key_id}, and with it what it encrypted, in every copy"]


def _confirm(found: Sequence[FoundRecord], key_id: str | None, *, yes: bool) -> None:
    """Shows what would go and asks. Raises ConfigurationError where nobody can answer."""
    if yes:
        return
    for line in [*(found_lines(found) if found else []), *_key_lines(key_id)]:
        say(line)
    if not sys.stdin.isatty():
        raise ConfigurationError("nobody can be asked here: say --yes, or look first with --dry-run")
    if not typer.confirm("Erase this for good?", err=True):
        raise typer.Exit(2)
