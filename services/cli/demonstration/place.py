"""Where the demo runs: a broker, a database and a folder of its own, so that nothing of it mixes with real events.

Addresses and sign-ins of the environment and of `.env` are left alone, lest a demonstration reach a real cluster.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from deploy.local.errors import StackError
from deploy.local.home import Home, find_home
from deploy.local.interrupts import shielded
from deploy.local.postgres_programs import database_user, open_folder
from deploy.local.stack import Say, down
from services.common.settings import environment

_GIVEN = (
    "KAFKA_BOOTSTRAP_SERVERS",
    "KAFKA_SECURITY_PROTOCOL",
    "DATABASE_URL",
    "PG_HOST",
    "TOPIC_PREFIX",
    "INGEST_SSL_CERTFILE",
    "INGEST_SSL_KEYFILE",
    "INGEST_BEHIND_TLS",
)
_AI = ("OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY")


def demo_home() -> Home:
    """The folder `demo` of the user's home."""
    return Home(find_home(environment()).folder / "demo")


def keep_apart(*, ai: bool) -> list[str]:
    """Empties, for this process and those that it starts, the variables that lead elsewhere; an AI is asked only
    where the user says so, since it costs. Returns the names of those that were set."""
    variables = environment()
    names = _GIVEN if ai else _GIVEN + _AI
    found = [name for name in names if variables.get(name) or variables.get(f"{name}_FILE")]
    for name in names:
        os.environ[name] = ""
        os.environ[f"{name}_FILE"] = ""
    return found


@contextmanager
def clean_place(home: Home, say: Say) -> Iterator[None]:
    """An empty folder, and at the end no process; one demo at a time. Raises StackError where one runs already."""
    home.folder.parent.mkdir(parents=True, exist_ok=True)
    with (home.folder.parent / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError("a demo already runs here: end it with Ctrl-C first") from None
        down(home, _say_nothing)  # what a killed demo has left
        with shielded():
            _empty(home)
        try:
            yield
        finally:
            with shielded():
                down(home, say)


def _empty(home: Home) -> None:
    """Removes what the last demo has recorded, also where the database's folder lies elsewhere."""
    database = open_folder(home.postgres, database_user())
    for folder in (database, home.folder):
        shutil.rmtree(folder, ignore_errors=False)
    home.folder.mkdir()


def _say_nothing(_line: str) -> None:
    pass
