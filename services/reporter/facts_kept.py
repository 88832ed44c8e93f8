"""Keeps up the facts that reports count by (schema tally): folds the records that have none yet."""

from __future__ import annotations

import asyncpg

from services.reporter.apart import Progress
from services.reporter.store import translated

BATCH = 20_000
"""Records folded in one transaction: for so long, well below a second or two, orders wait."""


async def keep_facts(dsn: str, *, batch: int = BATCH, progress: Progress = lambda _done, _total: None) -> int:
    """Folds all records that have no facts yet, and takes names out of the facts of payloads that were retained away. Returns
    how many records were folded. What is not folded is counted all the same, from the records themselves, only slower; so a
    database that lets nobody write is no hindrance. Raises TransientError or ConfigurationError."""
    with translated():
        connection = await asyncpg.connect(
            dsn,
            timeout=10,
            server_settings={"application_name": "piperoll-facts", "jit": "off", "TimeZone": "UTC"},
        )
    try:
        with translated():
            return await _keep(connection, batch, progress)
    finally:
        connection.terminate()


async def _keep(connection: asyncpg.Connection, batch: int, progress: Progress) -> int:
    if await connection.fetchval("SELECT pg_is_in_recovery()"):
        return 0
    rows = await connection.fetch(
        "SELECT h.chain_no, h.next_seq - coalesce(u.next_seq, 0) AS behind FROM audit.chain_head h"
        " LEFT JOIN tally.folded u USING (chain_no) ORDER BY 1"
    )
    total, done = sum(max(row["behind"], 0) for row in rows), 0
    for row in rows:
        while folded := await connection.fetchval("SELECT tally.fold($1, $2)", row["chain_no"], batch):
            done += folded
            progress(done, max(total, done))
    while await connection.fetchval("SELECT tally.blank_retained($1)", batch):
        pass
    return done
