"""Puts chains of rows into a migrated database, and changes what is there as only a superuser can."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import asyncpg

from services.reporter.drill.shadow import disarm
from tests.chain_rows import ChainRows

_EPOCH_US = 946_684_800_000_000


async def fill(dsn: str, chains: Iterable[ChainRows]) -> None:
    """Inserts the chains; `dsn` is the superuser's."""
    connection = await _connect(dsn)
    try:
        for chain in chains:
            await _insert(connection, chain)
        await connection.execute("ANALYZE audit.record; ANALYZE audit.payload")
    finally:
        await connection.close()


async def _connect(dsn: str) -> asyncpg.Connection:
    """Times as microseconds since 1970 UTC."""
    connection = await asyncpg.connect(dsn)
    await connection.set_type_codec(
        "timestamptz",
        schema="pg_catalog",
        format="tuple",
        encoder=lambda us: (us - _EPOCH_US,),
        decoder=lambda said: said[0] + _EPOCH_US,
    )
    return connection


async def _insert(connection: asyncpg.Connection, chain: ChainRows) -> None:
    """Through the database's own opening and link check, so that a builder's chain is one that a writer could make."""
    async with connection.transaction():
        number = await connection.fetchval(
            "SELECT audit.open_chain($1, $2, $3, $4, $5, $6, $7, $8, 0)",
            *chain.info[1:],
            chain.first_offset,
            bytes(16),
        )
        chain.chain_no = number
        await _copy(connection, chain, 0)


async def extend(dsn: str, chains: Iterable[ChainRows], sizes: Mapping[int, int]) -> None:
    """Adds to chains that are there the rows which they have beyond `sizes` (by chain number)."""
    connection = await _connect(dsn)
    try:
        for chain in chains:
            async with connection.transaction():
                await _copy(connection, chain, sizes[chain.chain_no])
    finally:
        await connection.close()


async def _copy(connection: asyncpg.Connection, chain: ChainRows, first: int) -> None:
    number = chain.chain_no
    await connection.copy_records_to_table(
        "record", schema_name="audit", records=[(number, *row) for row in chain.rows[first:]]
    )
    await connection.copy_records_to_table(
        "payload",
        schema_name="audit",
        records=[(number, *item, chain.original_salts.get(item.seq)) for item in chain.contents[first:]],
    )
    await connection.executemany(
        "INSERT INTO audit.annotation VALUES ($1, $2, $3, $4, $5, $6)",
        [(*target, number, seq, at) for target, seq, at in chain.targets if seq >= first],
    )


async def tamper(dsn: str, statements: str) -> None:
    """Runs statements as a superuser who has switched off triggers and dropped the checks that stand in the way."""
    connection = await asyncpg.connect(dsn)
    try:
        await disarm(connection)
        async with connection.transaction():
            await connection.execute(statements)
    finally:
        await connection.close()
