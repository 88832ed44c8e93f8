"""`piperoll emit`: events from a file, from standard input, or a generated month, into Piperoll."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NamedTuple
from uuid import uuid4

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from deploy.local.home import find_home
from deploy.local.state import load_state
from services.cli.declaring import declaration
from services.cli.demo_month.days import month_before, parse_month
from services.cli.demo_month.month import EVENTS, DemoMonth, declare, generate
from services.cli.outgoing import encrypted, from_lines, from_month, lines_over_http, over_http
from services.cli.posting import open_client, post_all
from services.cli.producing import Outgoing, open_producer, send_all
from services.cli.target import errors_told, target_variables
from services.common.errors import ConfigurationError
from services.common.settings import KafkaSettings, read_settings, read_variable
from services.common.shredding.door import configured_door
from services.common.shredding.settings import SubjectKeySettings


def _ignore(_count: int) -> None:
    """Progress for what is too short to watch."""


class Result(NamedTuple):
    """How many events were acknowledged, and why the others were not."""

    acknowledged: int
    reasons: list[str]


def emit(
    file: Annotated[str, typer.Argument(help="JSON lines; - is standard input")] = "",
    demo_month: Annotated[
        str, typer.Option(help="generate this month (2026-10, or `last`) instead of reading a file")
    ] = "",
    seed: Annotated[int, typer.Option(help="of the generated month")] = 1,
    events: Annotated[
        int, typer.Option(help="about how many events the generated month has", min=1)
    ] = EVENTS,
    backfill: Annotated[
        str,
        typer.Option(
            metavar="REASON",
            help="declare a back-fill first: why old events come now (a generated month always does)",
        ),
    ] = "",
    http: Annotated[bool, typer.Option("--http", help="through ingest instead of Kafka")] = False,
) -> None:
    """Send events; where SUBJECT_FIELDS is set, with the fields that it names encrypted (with --http ingest does that). Exit
    status: 0 all acknowledged, 1 some were not, 2 could not try."""
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # what matters of it is in the outcomes
    console = Console(stderr=True)
    if bool(file) == bool(demo_month):
        raise typer.BadParameter("say what to send: a file (- for standard input), or --demo-month 2026-10")
    with errors_told():
        variables = target_variables()
        settings = read_settings(KafkaSettings, variables)
        made = _month(demo_month, seed, events, settings) if demo_month else None
        with _bar(console, None if made is None else len(made.messages)) as progress:
            result = _send(settings, variables, made, file, backfill, http, progress)
    for reason, times in Counter(result.reasons).most_common(5):
        console.print(f"  {times:,} not acknowledged: {reason}", markup=False, highlight=False)
    print(f"{result.acknowledged:,} events acknowledged")
    raise typer.Exit(1 if result.reasons else 0)


def _month(text: str, seed: int, events: int, settings: KafkaSettings) -> DemoMonth:
    try:
        month = month_before(datetime.now(UTC).date()) if text == "last" else parse_month(text)
    except ValueError as error:
        raise ConfigurationError(f"--demo-month: {error}") from error
    return generate(month, seed, events, event_limit=settings.event_limit)


def _send(
    settings: KafkaSettings,
    variables: dict[str, str],
    made: DemoMonth | None,
    file: str,
    backfill: str,
    http: bool,
    progress: Callable[[int], None],
) -> Result:
    identifier = made.declaration if made else f"backfill-{uuid4()}" if backfill else ""
    if identifier:
        about = (
            declare(made, backfill or "demonstration")
            if made
            else {"reason": backfill, "file": Path(file).name}
        )
        said = _to_kafka(settings, settings.topics.system, iter([declaration(identifier, about)]))
        if said.reasons:
            return Result(0, [f"the declaration: {said.reasons[0]}"])
    if http:
        bodies = over_http(made.messages) if made else lines_over_http(_lines(file), identifier)
        return _to_ingest(variables, bodies, progress)
    messages = from_month(made.messages) if made else from_lines(_lines(file), identifier)
    refused: list[str] = []
    door = configured_door(read_settings(SubjectKeySettings, variables))
    if door is not None:
        messages = encrypted(messages, door, refused)
    result = _to_kafka(settings, settings.topics.events, messages, progress)
    return Result(result.acknowledged, [*result.reasons, *refused])


def _to_kafka(
    settings: KafkaSettings,
    topic: str,
    messages: Iterator[Outgoing],
    progress: Callable[[int], None] = _ignore,
) -> Result:
    with open_producer(settings, "piperoll-emit") as producer:
        outcomes = send_all(producer, topic, messages, progress)
    reasons = [outcome for outcome in outcomes if isinstance(outcome, str)]
    return Result(len(outcomes) - len(reasons), reasons)


def _to_ingest(variables: dict[str, str], bodies: Iterator[bytes], progress: Callable[[int], None]) -> Result:
    url = _ingest_url(variables)
    key, authority = (read_variable(name, variables) for name in ("PIPEROLL_API_KEY", "INGEST_CAFILE"))
    with open_client(url, key, authority) as client:
        posted = post_all(client, bodies, progress)
    return Result(posted.taken, posted.refused)


def _ingest_url(variables: dict[str, str]) -> str:
    """INGEST_URL, else the local stack's, else where ingest listens by default."""
    state = load_state(find_home(variables))
    local = state.url("ingest") if state is not None and "ingest" in state.ports else ""
    return variables.get("INGEST_URL") or local or f"http://127.0.0.1:{variables.get('INGEST_PORT') or 8080}"


def _lines(file: str) -> Iterator[bytes]:
    if file == "-":
        yield from sys.stdin.buffer
        return
    try:
        with Path(file).open("rb") as lines:
            yield from lines
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from error


@contextmanager
def _bar(console: Console, total: int | None) -> Iterator[Callable[[int], None]]:
    """A line that counts acknowledgements, on a terminal only."""
    columns = (
        TextColumn("sending"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.completed:,} acknowledged"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)
        yield lambda count: progress.update(task, completed=count)
