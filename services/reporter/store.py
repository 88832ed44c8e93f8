"""The reporter's side of PostgreSQL: read-only snapshots, and errors that say what to do."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from services.common.errors import ConfigurationError, TransientError
from services.common.queries import load_queries

QUERIES = load_queries(Path(__file__).with_name("queries.sql"))
_SNAPSHOT_NAME = re.compile(r"^[0-9A-F-]+$")
_WRONG_SETTINGS = ("28", "3D", "42")
"""Sign-in refused, no such database, no such table or no right to it."""


@dataclass(frozen=True)
class Snapshot:
    """A read-only transaction. Others join it by `name`, and all see the same rows."""

    connection: asyncpg.Connection
    name: str

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows of a query of queries.sql, by its name."""
        with translated():
            rows: list[asyncpg.Record] = await self.connection.fetch(QUERIES[query], *arguments)
            return rows

    async def copy(self, query: str, *numbers: int, output: Callable[[bytes], object]) -> None:
        """The rows of a query with numbers for $1, $2, … as COPY in binary, given to `output` in pieces as they come;
        what it does meanwhile holds PostgreSQL up, so that not much is in memory."""
        text = QUERIES[query].rstrip().removesuffix(";")
        for place, number in enumerate(numbers, start=1):
            text = text.replace(f"${place}", f"({int(number)})::bigint")

        async def take(piece: bytes) -> None:
            output(piece)

        with translated():
            await self.connection.copy_from_query(text, output=take, format="binary")

    async def stream(self, query: str, *arguments: Any, prefetch: int = 500) -> AsyncIterator[asyncpg.Record]:
        """The rows of a query one by one, `prefetch` of them in memory."""
        with translated():
            async for row in self.connection.cursor(QUERIES[query], *arguments, prefetch=prefetch):
                yield row


@asynccontextmanager
async def open_snapshot(dsn: str, name: str | None = None) -> AsyncIterator[Snapshot]:
    """The database as it is now, or as it is in the snapshot `name`, which must still be open. Raises TransientError
    or ConfigurationError."""
    if name is not None and not _SNAPSHOT_NAME.match(name):
        raise ValueError(f"not the name of a snapshot: {name!r}")
    with translated():
        connection = await asyncpg.connect(
            dsn,
            timeout=10,
            server_settings={
                "application_name": "piperoll-reporter",
                "jit": "off",
                "TimeZone": "UTC",
                "idle_in_transaction_session_timeout": "0",  # a snapshot waits while others verify
            },
        )
    try:
        with translated():
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            if name is None:
                name = await connection.fetchval("SELECT pg_export_snapshot()")
            else:
                await connection.execute(f"SET TRANSACTION SNAPSHOT '{name}'")
        yield Snapshot(connection, str(name))
    finally:
        connection.terminate()


@contextmanager
def translated() -> Iterator[None]:
    """PostgreSQL's and the driver's errors as ours."""
    try:
        yield
    except asyncpg.PostgresError as error:
        state = error.sqlstate or ""
        if state.startswith(_WRONG_SETTINGS):
            raise ConfigurationError(
                f"PostgreSQL refused: {error}; are DATABASE_URL and its role right, and was `piperoll migrate` run?"
            ) from error
        raise TransientError(f"PostgreSQL cannot now: {error} ({state})") from error
    except (OSError, TimeoutError, asyncpg.InterfaceError) as error:
        raise TransientError(f"PostgreSQL does not answer: {error}; is DATABASE_URL right?") from error
