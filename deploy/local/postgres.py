"""One PostgreSQL server on the loopback address, with passwords (SCRAM) and no Unix socket."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import asyncpg
import psutil

from deploy.local import processes
from deploy.local.errors import StackError
from deploy.local.ports import LOOPBACK
from deploy.local.postgres_programs import Programs, database_user, open_folder, open_programs

SUPERUSER = "postgres"
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "password_encryption": "scram-sha-256",
}
_FAST = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "64MB", "autovacuum_naptime": "10min"}
T = TypeVar("T")


@dataclass(frozen=True)
class Database:
    """A server's folder, port and superuser password. `fast`: for tests, does not survive a power cut."""

    folder: Path
    port: int
    programs: Programs
    password: str
    fast: bool = False

    @property
    def log(self) -> Path:
        return self.folder / "postgres.log"

    def dsn(self, database: str = "postgres", user: str = SUPERUSER, password: str | None = None) -> str:
        """A connection address, by default the superuser's: it holds the password."""
        secret = quote(self.password if password is None else password, safe="")
        return f"postgresql://{user}:{secret}@{LOOPBACK}:{self.port}/{database}"

    def start(self) -> processes.Handle:
        """Makes the data folder at the first start, then starts the server. Raises StackError."""
        owner = database_user()
        programs = open_programs(self.programs, owner)
        place = open_folder(self.folder, owner)
        data = place / "data"
        if not (data / "PG_VERSION").is_file():
            self._initialise(programs, place, owner)
        made_by = int((data / "PG_VERSION").read_text(encoding="ascii").strip())
        if made_by != programs.version:
            raise StackError(
                f"{data} was made by PostgreSQL {made_by}, this is {programs.version}: set PIPEROLL_POSTGRES as it "
                "was then, or move the folder away to start with an empty database"
            )
        _await_orphans(data)
        _forget_dead_server(data)
        settings = _SETTINGS | (_FAST if self.fast else {}) | {"port": str(self.port)}
        options = [part for name, text in settings.items() for part in ("-c", f"{name}={text}")]
        return processes.start(
            [programs.folder / "postgres", "-D", data, *options],
            log=self.log,
            environ=_environment(),
            folder=Path("/"),
            owner=owner,
        )

    def wait_ready(self, handle: processes.Handle, timeout: float = 60.0) -> None:
        """Until the server takes connections. Raises StackError where it ends or takes longer."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                execute(self.dsn(), "SELECT 1")
            except (OSError, asyncpg.CannotConnectNowError) as error:
                reason = str(error)
            except asyncpg.PostgresError as error:
                raise StackError(
                    f"the database on port {self.port} does not know its password ({error}): the secrets and the "
                    f"data in {self.folder} do not belong together; move both away to start anew"
                ) from error
            else:
                return
            if not handle.alive:
                raise StackError(
                    f"PostgreSQL ended at start. The last lines of {self.log}:\n{processes.tail(self.log)}"
                )
            if time.monotonic() > deadline:
                raise StackError(
                    f"PostgreSQL did not answer on port {self.port} within {timeout:.0f} s ({reason}). "
                    f"The last lines of {self.log}:\n{processes.tail(self.log)}"
                )
            time.sleep(0.05)

    def _initialise(self, programs: Programs, place: Path, owner: processes.Owner | None) -> None:
        """Runs initdb on a draft that gets its name when it is whole."""
        draft, secret = place / "data.new", place / "initial-password"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        secret.touch(mode=0o600)
        secret.write_text(self.password, encoding="ascii")
        drop: dict[str, Any] = {}
        if owner is not None:
            os.chown(draft, owner.uid, owner.gid)
            os.chown(secret, owner.uid, owner.gid)
            drop = {"user": owner.uid, "group": owner.gid, "extra_groups": []}
        command: list[str | Path] = [programs.folder / "initdb", "-D", draft, "-U", SUPERUSER]
        command += ["-E", "UTF8", "--locale=C", "-A", "scram-sha-256", "--pwfile", secret]
        command += ["--no-sync"] if self.fast else ["--data-checksums"]
        try:
            answer = subprocess.run(
                command, capture_output=True, text=True, check=False, cwd="/", env=_environment(), **drop
            )
        finally:
            secret.unlink()
        if answer.returncode != 0:
            raise StackError(f"initdb failed in {place}:\n{answer.stderr.strip()}")
        draft.rename(place / "data")


def stop_database(handle: processes.Handle, grace: float = 30.0) -> bool:
    """A fast shutdown: open transactions are rolled back, what is committed stays."""
    return processes.stop(handle, grace=grace, polite=signal.SIGINT)


def execute(dsn: str, *statements: str) -> None:
    """Runs statements one by one, each in a transaction of its own; also from within an event loop."""

    async def run() -> None:
        connection = await asyncpg.connect(dsn, timeout=10)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    run_async(run())


def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine to its end in an event loop of its own, in a thread of its own."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def _await_orphans(data: Path, timeout: float = 20.0) -> None:
    """Waits for the children of a server that was killed: while they hold its memory, a new one does not start."""
    deadline = time.monotonic() + timeout
    while orphans := [process.pid for process in psutil.process_iter() if _is_orphan(process, data)]:
        if time.monotonic() > deadline:
            raise StackError(
                f"processes of an earlier PostgreSQL still use {data}: end them first (pids {orphans})"
            )
        time.sleep(0.1)


def _is_orphan(process: psutil.Process, data: Path) -> bool:
    try:
        ours = process.name().startswith("postgres") and process.cwd() == str(data)
        return ours and str(data) not in process.cmdline()  # the server itself names its folder
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def _forget_dead_server(data: Path) -> None:
    """Removes the pid file of a server that died, lest a stranger with the same pid keeps us from starting."""
    pid_file = data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text(encoding="utf-8").split(maxsplit=1)[0])
    except (FileNotFoundError, ValueError, IndexError):
        return
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        process = psutil.Process(pid)
        if process.name().startswith("postgres") and str(data) in process.cmdline():
            raise StackError(f"a PostgreSQL server (pid {pid}) already uses {data}: end it first")
    pid_file.unlink()


def _environment() -> dict[str, str]:
    """The environment without the variables by which the programs of PostgreSQL are told other things."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("PG")}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}
