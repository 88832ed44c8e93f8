"""Rows of many events for the report's bench, made by PostgreSQL itself: figures are right, hashes are not."""

from __future__ import annotations

import os

import asyncpg

from services.reporter.drill.shadow import disarm

START_US = 1_790_812_800_000_000
"""2026-10-01T00:00:00Z."""
MONTH_US = 31 * 86_400 * 1_000_000

_LEAF = (
    "'\\x61756469742d7265632f76310a01'::bytea || $2::bytea || int8send(n) || $4::bytea || int4send(1) || int8send(appended) || int8send(n)"
    " || int8send(appended / 1000) || '\\x00' || int8send(event) || $4 || substr($4, 1, 16) || int8send(0) || $4 || $4"
)
_RECORDS = f"""
WITH made AS (
    SELECT n, $5::bigint + n * ($6::bigint / $3::bigint) AS appended, $5::bigint + n * ($6::bigint / $3::bigint) - 2000000 - (hashint8(n) & 1048575) AS event
    FROM generate_series(0, $3::bigint - 1) AS n
), leaves AS (SELECT n, appended, event, {_LEAF} AS leaf FROM made)
INSERT INTO audit.record (chain_no, seq, kind, source_offset, appended_us, event_time_us, identity_hash, record_hash, leaf)
SELECT $1::smallint, n, 1, n, appended, event, hashint8extended(n, 1), sha256('\\x00'::bytea || leaf), leaf FROM leaves
"""
_PAYLOADS = """
INSERT INTO audit.payload (chain_no, seq, appended_at, salt, body, enrich_salt, enrich)
SELECT chain_no, seq, audit.moment(appended_us), record_hash, '\\x00'::bytea || '\\x01' || int4send(240) || convert_to(repeat('x', 240), 'UTF8'),
    record_hash, convert_to(format(
        '{"form":"structured","source":"app/%s","id":"%s-%s","type":"%s","summary":"User user-%s did %s to dataset %s (regulator request).",'
        '"risk":"%s","tags":["auth:login","team:%s"%s],"who":{"actor":"user-%s","action":"%s","resource":"dataset/%s","origin":"192.0.2.%s",'
        '"outcome":"success"}%s,"versions":{"rules":"3f2a","mapping":"9c1d"}}',
        h & 15, chain_no, seq, types[1 + (h >> 4 & 31)], h >> 9 & 4095, types[1 + (h >> 4 & 31)], h >> 21 & 255,
        CASE WHEN h & 2047 = 0 THEN 'high' WHEN h & 63 = 1 THEN 'low' ELSE 'informational' END, h >> 3 & 7,
        CASE WHEN h & 31 = 3 THEN ',"catalog:unknown"' ELSE '' END, h >> 9 & 4095, types[1 + (h >> 4 & 31)], h >> 21 & 255, h >> 5 & 255,
        CASE WHEN h & 2047 = 0 THEN ',"rules":[{"id":"r-1","title":"Mass export","level":"high"}]' ELSE '' END
    ), 'UTF8')
FROM audit.record, (SELECT array_agg('type_' || n ORDER BY n) AS types FROM generate_series(0, 31) AS n) AS named,
    LATERAL (SELECT hashint8extended(seq, chain_no) & 1073741823 AS h) AS hashed
WHERE chain_no = $1
"""


async def fill_month(dsn: str, events: int, chains: int = 4) -> None:
    """October 2026 with `events` events over so many chains. `dsn` is the superuser's; triggers are off afterwards."""
    connection = await asyncpg.connect(dsn)
    try:
        await disarm(connection)
        for number in range(1, chains + 1):
            await _fill_chain(connection, number, events // chains)
        await connection.execute("ANALYZE audit.record; ANALYZE audit.payload")
    finally:
        await connection.close()


async def _fill_chain(connection: asyncpg.Connection, number: int, events: int) -> None:
    chain_id = os.urandom(16)
    await connection.execute(
        f"CREATE TABLE audit.record_bench_{number} PARTITION OF audit.record FOR VALUES IN ({number})"
    )
    await connection.execute(f"ALTER TABLE audit.record_bench_{number} DISABLE TRIGGER ALL")
    await connection.execute(
        "INSERT INTO audit.chain VALUES ($1, $2, 'audit.events', $3, $4, 'bench', NULL)",
        number,
        chain_id,
        bytes(16),
        number - 1,
    )
    await connection.execute(
        "INSERT INTO audit.chain_head VALUES ($1, $2, $3, $2, $4, $2)", number, events, bytes(32), bytes(16)
    )
    await connection.execute(_RECORDS, number, chain_id, events, bytes(32), START_US, MONTH_US)
    await connection.execute(_PAYLOADS, number)
