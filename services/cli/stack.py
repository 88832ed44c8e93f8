"""`piperoll up`, `down`, `env` and `run`: Piperoll on this machine."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated

import typer

from deploy.local.home import Home, find_home
from deploy.local.parts import given
from deploy.local.ports import Ports
from deploy.local.services import RUNNABLE, service_named
from deploy.local.stack import down as stop_stack
from deploy.local.stack import up as start_stack
from deploy.local.state import State, load_state
from services.cli.target import errors_told, say, target_variables
from services.common.settings import PostgresSettings, environment, read_settings

app = typer.Typer()
AsJson = Annotated[bool, typer.Option("--json", help="As one JSON object.")]


@app.command()
def up(as_json: AsJson = False) -> None:
    """Start broker, database and all services, and wait until they are ready.

    KAFKA_BOOTSTRAP_SERVERS or DATABASE_URL set: those are used, not started. Progress goes to stderr, addresses to
    stdout. Exit status: 0 up, 1 something did not start (nothing is left behind then).
    """
    home = find_home(environment())
    with errors_told(status=1):
        state = start_stack(home, say)
    if as_json:
        print(json.dumps(state.addresses(home), indent=1))
    else:
        _tell(home, state)


def _tell(home: Home, state: State) -> None:
    lines = {
        "Kafka": state.bootstrap_servers + ("" if state.own_broker else " (given)"),
        "PostgreSQL": f"127.0.0.1:{state.database_port}, database piperoll"
        if state.database_port
        else "as given",
    }
    lines |= {name: state.url(name) for name in state.ports}
    lines |= {
        "data": str(home.folder),
        "logs": f"{home.log('*')}, {home.kafka}/broker.log, {home.postgres}/postgres.log",
    }
    print()
    for name, text in lines.items():
        print(f"  {name:<11}{text}")
    print("\n  `piperoll env` prints the addresses with passwords, `piperoll down` ends everything.")


@app.command()
def down(as_json: AsJson = False) -> None:
    """End everything that `up` started. The data stays."""
    with errors_told():
        ended = stop_stack(find_home(environment()), say)
    if as_json:
        print(json.dumps({"ended": ended}))
    elif not ended:
        print("nothing was running")


@app.command()
def env(as_json: AsJson = False) -> None:
    """Print the addresses in use as KEY=VALUE, one a line.

    DATABASE_URL signs in as the read-only reporter, ADMIN_DATABASE_URL as the superuser of the local database.
    Exit status: 2 when nothing runs and nothing is given.
    """
    home = find_home(environment())
    state = load_state(home)
    with errors_told():
        found = state.addresses(home) if state is not None else _given_addresses()
    if not found:
        say("nothing runs here: `piperoll up` starts it")
        raise typer.Exit(2)
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        for name, text in found.items():
            print(f"{name}={text}")


def _given_addresses() -> dict[str, str]:
    variables = environment()
    names = ("KAFKA_BOOTSTRAP_SERVERS", "TOPIC_PREFIX", "INGEST_URL")
    found = {name: variables[name] for name in names if variables.get(name)}
    if given(variables, "DATABASE_URL", "PG_HOST"):
        found["DATABASE_URL"] = read_settings(PostgresSettings, variables).dsn
    return found


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(
    context: typer.Context,
    service: Annotated[str, typer.Argument(help=", ".join(RUNNABLE), show_default=False)],
) -> None:
    """Run one service in the foreground: another instance beside the local stack's, or one of your own.

    Broker and database are those of the environment, else those of the local stack.
    """
    if service not in RUNNABLE:
        say(f"piperoll: no service {service}; there are {', '.join(RUNNABLE)}")
        raise typer.Exit(2)
    found = service_named(service)
    with errors_told():
        variables = target_variables(found.role)
        if found.port_variable != "HEALTH_PORT" and not variables.get(found.port_variable):
            variables[found.port_variable] = str(Ports(say).take(found.port, service))
        for name, folder in found.folders:
            if not variables.get(name):
                variables[name] = str(find_home(variables).folder / folder)
    command = [sys.executable, "-P", "-m", found.module, *found.arguments, *context.args]
    sys.stderr.flush()
    os.execve(sys.executable, command, variables)  # noqa: S606 - its signals and status become ours
