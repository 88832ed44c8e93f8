"""Where the local stack keeps everything: PIPEROLL_HOME, or `.piperoll` of the checkout, else of the working folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.errors import StackError

_CHECKOUT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Home:
    """The folder, and what lies where in it."""

    folder: Path

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"

    @property
    def kafka(self) -> Path:
        return self.folder / "kafka"

    @property
    def postgres(self) -> Path:
        return self.folder / "postgres"

    @property
    def state(self) -> Path:
        return self.folder / "state.json"

    @property
    def plan(self) -> Path:
        """What the supervisor is to run."""
        return self.folder / "run" / "plan.json"

    @property
    def services(self) -> Path:
        """What the supervisor runs: it keeps this file up to date."""
        return self.folder / "run" / "services.json"

    def pid_file(self, part: str) -> Path:
        return self.folder / "run" / f"{part}.pid"

    def log(self, part: str) -> Path:
        return self.folder / "logs" / f"{part}.log"


def find_home(environ: Mapping[str, str] = os.environ) -> Home:
    """The home that the environment names. Nothing is made."""
    if environ.get("PIPEROLL_HOME"):
        return Home(Path(environ["PIPEROLL_HOME"]).expanduser().resolve())
    checkout = (_CHECKOUT / "pyproject.toml").is_file()
    return Home((_CHECKOUT if checkout else Path.cwd()) / ".piperoll")


@contextmanager
def alone(home: Home, say: Callable[[str], None]) -> Iterator[None]:
    """One `up` or `down` at a time; the next one waits."""
    try:
        home.folder.mkdir(parents=True, exist_ok=True)
        lock = (home.folder / "lock").open("w")
    except OSError as error:
        raise StackError(f"cannot write to {home.folder}: {error.strerror}. Set PIPEROLL_HOME.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another `piperoll up` or `down` is at work here; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fresh_log(path: Path) -> Path:
    """`path`, with what it held moved to `.1`: a log begins with its start."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        path.replace(path.with_suffix(".log.1"))
    return path
