"""`piperoll`: finds the module of a subcommand and imports it only when that subcommand is used.

A module exposes `app`, a typer.Typer with a command or group of the subcommand's name, or a plain function so named.
Exit status: 0 fine, 1 the check failed, 2 could not check or wrong use.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import typer

HERE = "This machine"
EVENTS = "Events"
EVIDENCE = "Evidence"
ADMIN = "Administration"


class Command(NamedTuple):
    """Where a subcommand lives, and what `piperoll --help` says of it."""

    module: str
    panel: str
    help: str


COMMANDS = {
    "up": Command("stack", HERE, "Start broker, database and all services, and wait until they are ready."),
    "down": Command("stack", HERE, "End them."),
    "env": Command("stack", HERE, "Print the addresses in use as KEY=VALUE."),
    "run": Command("stack", HERE, "Run one service in the foreground."),
    "demo": Command("demo", EVENTS, "A month of one company's events: recorded, verified, reported."),
    "emit": Command("emit", EVENTS, "Send events."),
    "verify": Command("evidence", EVIDENCE, "Recompute every chain; say which record is wrong and how."),
    "prove": Command("prove", EVIDENCE, "Write the proof of one record, to be checked offline."),
    "seal": Command("seal", EVIDENCE, "What is sealed, with which key, and how that is changed."),
    "drill": Command("drill", EVIDENCE, "Attack a shadow copy, and see what the verifier finds."),
    "report": Command("reports", EVIDENCE, "Reports and their editions: list, build, rebuild, sign, send."),
    "review": Command("review", EVIDENCE, "Say what an event turned out to be, on record."),
    "sample": Command("sample", EVIDENCE, "Draw records for an audit, by a seed that nobody can bend."),
    "export": Command("evidence", EVIDENCE, "Write events as JSON lines."),
    "erase": Command(
        "erase", EVIDENCE, "Take the content of events away for good, and leave a record of it."
    ),
    "open": Command("opening", EVIDENCE, "Show an event with its encrypted fields opened, on record."),
    "restore": Command("restore", EVIDENCE, "Put damaged records right, with bytes that fit the hashes."),
    "retain": Command(
        "retain", EVIDENCE, "Archive and drop the payloads of old months, and leave a record of it."
    ),
    "migrate": Command("admin", ADMIN, "Bring the database to the present schema."),
    "topics": Command("admin", ADMIN, "Create, list and grow the topics."),
    "replay": Command("replay", ADMIN, "Have events read again: from a hole on, or out of the dead letters."),
    "keys": Command("keys", ADMIN, "API keys of ingest."),
    "rules": Command("rules", ADMIN, "Check rules, list them, and explain what they say of an event."),
    "enrich": Command(
        "enrich_again", ADMIN, "Have a model read events again: adds readings, changes nothing."
    ),
    "ai": Command(
        "ai", ADMIN, "Ask the model once and say what to fix; what it was asked and cost; how well it does."
    ),
}


def load(name: str) -> Any:
    """The click command of a subcommand. Raises ModuleNotFoundError where its module is missing."""
    module = import_module(f"services.cli.{COMMANDS[name].module}")
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer()
        app.command(name)(getattr(module, name))
    command = typer.main.get_command(app)
    return getattr(command, "commands", {}).get(name, command)


def overview() -> typer.Typer:
    """What answers `piperoll --help` and unknown subcommands: names and one line each, no module imported. Those
    whose module is missing are left out."""
    app = typer.Typer(
        name="piperoll",
        no_args_is_help=True,
        add_completion=False,
        help="Audit events: recorded once, understood, hash-chained, reported on.",
        epilog="Exit status: 0 fine, 1 the check failed, 2 could not check or wrong use.",
    )
    for name, command in COMMANDS.items():
        if find_spec(f"services.cli.{command.module}") is None:
            continue
        app.command(name, help=command.help, rich_help_panel=command.panel)(_stub)
    return app


def _stub() -> None:
    """Never called: main() takes every known name itself."""


def main() -> None:
    """The entry point of the `piperoll` script."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        overview()()
    try:
        command = load(name)
    except KeyboardInterrupt:  # Ctrl-C while modules are read
        sys.exit(130)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("services.cli."):
            raise
        print(f"`piperoll {name}` is not part of this version", file=sys.stderr)
        sys.exit(2)
    command.main(args=sys.argv[2:], prog_name=f"piperoll {name}")


if __name__ == "__main__":
    main()
