"""The shadow copy: chains of one database in another one, whose owner is the attacker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from schemas.verification.contents import Content
from schemas.verification.links import ChainInfo, Head, Row
from services.reporter.drill.attacks import Attacked, Pair
from services.reporter.store import Snapshot, translated

_EPOCH_2000_US = 946_684_800_000_000
_OF_A_CHAIN = ("audit.record", "audit.payload", "audit.chain_head", "audit.chain")


async def set_times(connection: asyncpg.Connection) -> None:
    """Times of a connection as microseconds since 1970 UTC, in and out."""
    await connection.set_type_codec(
        "timestamptz",
        schema="pg_catalog",
        format="tuple",
        encoder=lambda us: (us - _EPOCH_2000_US,),
        decoder=lambda said: said[0] + _EPOCH_2000_US,
    )


async def read_pairs(snapshot: Snapshot, chain_no: int, length: int) -> list[Pair]:
    """All records of a chain with their payload rows, None where a payload is gone."""
    rows = [Row(*row) for row in await snapshot.fetch("records", chain_no, 0, length - 1)]
    contents = {
        content.seq: content
        for content in (Content(*row) for row in await snapshot.fetch("payloads", chain_no, 0, length - 1))
    }
    return [(row, contents.get(row.seq)) for row in rows]


class Shadow:
    """A database that is ours to break. Its owner must be a superuser, as the attacker is."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    async def make(
        self,
        chains: Sequence[tuple[ChainInfo, Head, Sequence[Pair]]],
        tables: Mapping[str, Sequence[Sequence[Any]]],
    ) -> None:
        """Puts chains and the rows of other tables into a migrated, empty database; triggers and checks that a superuser
        can switch off are off afterwards."""
        with translated():
            connection = await asyncpg.connect(self.dsn, timeout=10)
            try:
                await disarm(connection)
                for info, head, pairs in chains:
                    await _add(connection, info, head, pairs)
                for table, rows in tables.items():
                    await connection.copy_records_to_table(table, schema_name="audit", records=rows)
            finally:
                await connection.close()

    async def put(self, chain_no: int, made: Attacked) -> None:
        """Replaces one chain."""
        head = made.head
        with translated():
            connection = await asyncpg.connect(self.dsn, timeout=10)
            try:
                async with connection.transaction():
                    await connection.execute("DELETE FROM audit.record WHERE chain_no = $1", chain_no)
                    await connection.execute("DELETE FROM audit.payload WHERE chain_no = $1", chain_no)
                    await connection.execute(
                        "UPDATE audit.chain_head SET next_seq = $2, last_hash = $3, next_source_offset = $4, epoch = $5"
                        " WHERE chain_no = $1",
                        chain_no,
                        head.next_seq,
                        head.last_hash,
                        head.next_source_offset,
                        head.epoch,
                    )
                    await insert_chain(connection, chain_no, made.rows, made.contents)
            finally:
                await connection.close()

    async def remove(self, chain_no: int) -> None:
        """A whole chain, its row too."""
        with translated():
            connection = await asyncpg.connect(self.dsn, timeout=10)
            try:
                for table in _OF_A_CHAIN:
                    await connection.execute(f"DELETE FROM {table} WHERE chain_no = $1", chain_no)  # noqa: S608 - ours
            finally:
                await connection.close()


async def disarm(connection: asyncpg.Connection) -> None:
    """Switches off every trigger and drops the checks that stand in the way, as a superuser can."""
    rows = await connection.fetch(
        "SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'audit' AND c.relkind IN ('r', 'p')"
    )
    for row in rows:
        await connection.execute(f"ALTER TABLE {row['name']} DISABLE TRIGGER ALL")
    checks = await connection.fetch(
        "SELECT conrelid::regclass::text AS name, conname FROM pg_constraint"
        " WHERE conrelid IN ('audit.record'::regclass, 'audit.chain'::regclass) AND contype IN ('c', 'f')"
    )
    for check in checks:
        await connection.execute(f"ALTER TABLE {check['name']} DROP CONSTRAINT {check['conname']} CASCADE")


async def _add(connection: asyncpg.Connection, info: ChainInfo, head: Head, pairs: Sequence[Pair]) -> None:
    part = f"record_shadow_{info.chain_no}"
    await connection.execute(
        f"CREATE TABLE IF NOT EXISTS audit.{part} PARTITION OF audit.record FOR VALUES IN ({info.chain_no})"
    )
    await connection.execute(f"ALTER TABLE audit.{part} DISABLE TRIGGER ALL")
    await connection.execute(
        "INSERT INTO audit.chain (chain_no, chain_id, topic, topic_id, partition, cluster_id, previous)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7)",
        *info,
    )
    await connection.execute(
        "INSERT INTO audit.chain_head (chain_no, next_seq, last_hash, next_source_offset, read_topic_id, next_read_offset,"
        " epoch, closed) VALUES ($1, $2, $3, $4, $5, 0, $6, $7)",
        *(info.chain_no, head.next_seq, head.last_hash, head.next_source_offset, info.topic_id),
        *(head.epoch, head.closed),
    )
    rows, contents = [row for row, _ in pairs], [content for _, content in pairs if content is not None]
    await insert_chain(connection, info.chain_no, rows, contents)


async def insert_chain(
    connection: asyncpg.Connection, chain_no: int, rows: Sequence[Row], contents: Sequence[Content]
) -> None:
    """Copies records and payload rows in; `original_salt` of duplicates is not among them."""
    await set_times(connection)
    await connection.copy_records_to_table(
        "record", schema_name="audit", records=[(chain_no, *row) for row in rows]
    )
    await connection.copy_records_to_table(
        "payload", schema_name="audit", records=[_payload(chain_no, content) for content in contents]
    )


def _payload(chain_no: int, content: Content) -> tuple[Any, ...]:
    return (chain_no, *content, None)
