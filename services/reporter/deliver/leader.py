"""One reporter leads, the others wait: an advisory lock of PostgreSQL, held as long as its connection lives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256

import asyncpg

from services.common.logging import get_logger
from services.reporter.store import QUERIES, translated

log = get_logger(__name__)
_ASK_EVERY_S = 2.0
_TIMEOUT_S = 10.0


class Leadership:
    """Whether we still lead. A leader that has lost its connection may deliver a digest that its follower delivers
    too: the same id tells the receiver."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def check(self) -> None:
        """Raises TransientError where the lock is lost."""
        with translated():
            await self._connection.fetchval("SELECT 1", timeout=_TIMEOUT_S)


@asynccontextmanager
async def leadership(dsn: str, name: str, stop: asyncio.Event) -> AsyncIterator[Leadership | None]:
    """Waits until we lead `name`; None where `stop` came before. Raises TransientError, ConfigurationError."""
    with translated():
        connection = await asyncpg.connect(
            dsn, timeout=_TIMEOUT_S, server_settings={"application_name": "piperoll-reporter-leader"}
        )
    try:
        yield Leadership(connection) if await _won(connection, _number(name), stop) else None
    finally:
        connection.terminate()


async def _won(connection: asyncpg.Connection, number: int, stop: asyncio.Event) -> bool:
    waited = False
    while not stop.is_set():
        with translated():
            if await connection.fetchval(QUERIES["lead"], number, timeout=_TIMEOUT_S):
                log.info("leading")
                return True
        if not waited:
            waited = True
            log.info("standing_by", why="another reporter leads")
        try:
            await asyncio.wait_for(stop.wait(), _ASK_EVERY_S)
        except TimeoutError:
            continue
    return False


def _number(name: str) -> int:
    """The lock's number: locks of other programs in the same database must not meet it."""
    return int.from_bytes(sha256(f"piperoll/reporter/{name}".encode()).digest()[:8], "big", signed=True)
