"""`piperoll demo`: a month of one company's events, recorded, verified and reported on, on this machine."""

from __future__ import annotations

import logging
import time
from calendar import month_name
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from deploy.local.home import Home
from deploy.local.interrupts import interruptible
from deploy.local.stack import up
from deploy.local.state import State
from services.cli.demo_month.days import Month, month_before, parse_month
from services.cli.demo_month.month import EVENTS, DemoMonth, generate
from services.cli.demonstration.ai import cap_ai, cost_line
from services.cli.demonstration.check import check
from services.cli.demonstration.evidence import build_evidence
from services.cli.demonstration.place import clean_place, demo_home, keep_apart
from services.cli.demonstration.recording import record_month
from services.cli.demonstration.screen import Screen
from services.cli.demonstration.summary import Shown, show_summary
from services.cli.target import errors_told
from services.common.errors import ConfigurationError
from services.common.settings import KafkaSettings, environment, read_settings

READER = "piperoll_reporter"


def demo(
    end: Annotated[bool, typer.Option("--exit", help="end by itself; status 1 if anything is wrong")] = False,
    seed: Annotated[int, typer.Option(help="another seed, another month")] = 1,
    events: Annotated[int, typer.Option(help="about how many", min=1)] = EVENTS,
    month: Annotated[str, typer.Option(help="2026-10, say; default: the last complete month")] = "",
    ai: Annotated[
        bool, typer.Option(help="let an AI read events too, where a key is set: it costs $0.25 at most")
    ] = True,
) -> None:
    """A month of one company's audit events: recorded, verified, reported.

    Starts a broker, a database and all services of its own, sends about 50,000 events with an incident hidden in them,
    and checks each of them by its identity. Stays up until Ctrl-C. Exit status: 0 fine, 1 an event is lost, doubled or
    unverified.
    """
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    screen = Screen(Console())
    with errors_told(status=1), interruptible():
        good = run(screen, _month(month), seed, events, ai=ai, stay=not end)
    raise typer.Exit(0 if good else 1)


def _month(text: str) -> Month:
    try:
        return parse_month(text) if text else month_before(datetime.now(UTC).date())
    except ValueError as error:
        raise ConfigurationError(f"--month: {error}") from error


def run(screen: Screen, month: Month, seed: int, events: int, *, ai: bool, stay: bool) -> bool:
    """The whole demo; returns whether everything was as it should be. Nothing is left running."""
    screen.title(
        f"{month_name[month.number]} {month.year} at Larkfield Health", f"an invented company, seed {seed}"
    )
    asked = cap_ai(screen.note) if ai else False
    ignored = keep_apart(ai=asked)
    if ignored:
        screen.note(f"not used here: {', '.join(ignored)}")
    home = demo_home()
    with ExitStack() as place:
        with screen.step("clearing what the last demo has left", quiet=True):
            place.enter_context(clean_place(home, _say_nothing))
        made, state = _prepare(screen, home, month, seed, events)
        shown = _record_and_prove(screen, home, made, state)
        if asked:
            with screen.step("asking the records what the AI cost") as step:
                step.done = cost_line(state.dsn(home, READER))
        show_summary(screen, shown, stay=stay)
        if stay:
            _stay(screen)
        screen.note("ending broker, database and services")
    return shown.good


def _record_and_prove(screen: Screen, home: Home, made: DemoMonth, state: State) -> Shown:
    """Sends the month, waits for its records, compares, verifies, reports."""
    settings = read_settings(KafkaSettings, environment(environ=state.addresses(home)))
    dsn = state.dsn(home, READER)
    recorded = record_month(screen, home, settings, state.url("ingest"), dsn, made)
    with screen.step("checking every message by its identity") as step:
        findings = check(made.messages, recorded.sent, dsn, settings.topics.events)
        step.done = f"checked {len(made.messages):,} messages by their identity"
    with screen.step("waiting for the seals, verifying the chains and building the report") as step:
        published, reports = home.folder / "sealer" / "published", home.folder / "reports"
        evidence = build_evidence(dsn, settings, published, made.month, reports / str(made.month), step.say)
        step.done = (
            f"verified {evidence.chains} chains, {evidence.sealed:,} of {evidence.records:,} records sealed, and made an "
            "edition of the month's report"
        )
    return Shown(made, recorded, findings, evidence, home, state)


def _prepare(screen: Screen, home: Home, month: Month, seed: int, events: int) -> tuple[DemoMonth, State]:
    """The events and a running stack, both at the same time."""
    limit = read_settings(KafkaSettings, environment()).event_limit
    with (
        ThreadPoolExecutor(max_workers=1) as pool,
        screen.step("starting Kafka, PostgreSQL and the services") as step,
    ):
        made = pool.submit(generate, month, seed, events, event_limit=limit)
        state = up(home, step.say)
        step.done = "Kafka, PostgreSQL, " + ", ".join(state.ports) + " are up"
        return made.result(), state


def _stay(screen: Screen) -> None:
    screen.gap()
    screen.note("Everything stays up until Ctrl-C.")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        screen.gap()


def _say_nothing(_line: str) -> None:
    """The end is told in one line."""
