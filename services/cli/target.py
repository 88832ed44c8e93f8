"""Which broker and database a subcommand talks to: what the environment names, else the local stack."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import typer

from deploy.local.errors import StackError
from deploy.local.home import find_home
from deploy.local.parts import given
from deploy.local.state import load_state
from services.common.errors import FatalError, TransientError
from services.common.settings import environment


def target_variables(role: str | None = None, variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables for `read_settings`: the environment and `.env`, completed by the local stack where it is up.

    `role` is the PostgreSQL role wanted of the local database (`piperoll_reporter`, …; None: no database).
    """
    found = environment() if variables is None else dict(variables)
    home = find_home(found)
    state = load_state(home)
    if state is None:
        return found
    local = state.service_variables(home, role)
    if given(found, "KAFKA_BOOTSTRAP_SERVERS"):
        local = {name: text for name, text in local.items() if not name.startswith("KAFKA_")}
    if given(found, "DATABASE_URL", "PG_HOST"):
        local = {name: text for name, text in local.items() if not name.startswith(("PG_", "DATABASE_"))}
    if found.get("TOPIC_PREFIX"):
        del local["TOPIC_PREFIX"]
    return found | local


def say(line: str) -> None:
    """A line of progress: to stderr, so that stdout is for what programs read. Nobody need listen."""
    with suppress(BrokenPipeError):
        print(line, file=sys.stderr, flush=True)


@contextmanager
def errors_told(status: int = 2) -> Iterator[None]:
    """Errors that say what to do become their text and an exit status; Ctrl-C becomes 130."""
    try:
        yield
    except KeyboardInterrupt:
        say("interrupted")
        raise typer.Exit(130) from None
    except (StackError, TransientError, FatalError) as error:
        say(f"piperoll: {error}")
        raise typer.Exit(status) from None
