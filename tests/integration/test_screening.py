"""The views for psql alone: empty where all is well, each tampering in its view, and what they cannot see."""

import asyncpg
import pytest

from tests.audit_tables import fill, tamper
from tests.chain_rows import ChainRows
from tests.sealing import Sealing, Silent

VIEWS = ("screen_links", "screen_columns", "screen_payloads", "screen_missing", "screen_seals")


def rows_of_all_kinds():
    chain = ChainRows(first_offset=7).events(20)
    chain.poison()
    chain.withheld()
    chain.duplicate(2)
    chain.skip(3)
    return chain.events(30)


async def found(dsn):
    """View -> its rows as (seq or sealed, problem)."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = {name: await connection.fetch(f"SELECT * FROM audit.{name}") for name in VIEWS}
    finally:
        await connection.close()
    return {
        name: [(row.get("seq", row.get("sealed")), row["problem"]) for row in items]
        for name, items in rows.items()
        if items
    }


@pytest.fixture
async def sealed(database, tmp_path):
    """A database of two chains, all of it sealed."""
    chains = [rows_of_all_kinds(), ChainRows(chain_no=2, partition=1, seed=3).events(10)]
    await fill(database.admin_dsn, chains)
    # Kafka is away: what is compared is not what these tests are about
    sealing = Sealing(
        database.sealer_dsn,
        tmp_path / "sealer",
        connect=Silent(None),
        patience_s=0.000001,
        heartbeat_s=0.000001,
    )
    await sealing.rounds(4)
    assert sealing.memory.seals.size == 4
    assert {chain.size for chain in sealing.memory.chains.values()} == {len(chain.rows) for chain in chains}
    await sealing.close()
    return database


async def test_nothing_is_found_where_nothing_is_wrong(sealed):
    assert await found(sealed.reporter_dsn) == {}


async def test_an_empty_database_has_nothing_wrong(database):
    assert await found(database.reporter_dsn) == {}


ONE = "WHERE chain_no = 1 AND seq = 5"
CASES = {
    "a leaf edited": (
        f"UPDATE audit.record SET leaf = set_byte(leaf, 150, 1 - least(get_byte(leaf, 150), 1)) {ONE}",
        {"screen_links": [(5, "record_hash is not that of the leaf")]},
    ),
    "a leaf edited, its hash made to fit": (
        (
            f"UPDATE audit.record SET leaf = set_byte(leaf, 150, 1 - least(get_byte(leaf, 150), 1)) {ONE};"
            f"UPDATE audit.record SET record_hash = sha256('\\x00'::bytea || leaf) {ONE}"
        ),
        {"screen_links": [(6, "prev is not the hash of the record before")]},
    ),
    "a record deleted": (
        f"DELETE FROM audit.record {ONE}",
        {
            "screen_links": [(6, "records before it are missing, prev is not the hash of the record before")],
            "screen_payloads": [(5, "a payload without its record")],
        },
    ),
    "the tail cut, the head left": (
        "DELETE FROM audit.record WHERE chain_no = 2 AND seq > 8; DELETE FROM audit.payload WHERE chain_no = 2 AND seq > 8",
        {
            "screen_links": [(8, "the head says otherwise")],
            "screen_seals": [(11, "the chain is shorter than what was sealed")],
        },
    ),
    "the tail cut, the head made to fit": (
        (
            "DELETE FROM audit.record WHERE chain_no = 2 AND seq > 8; DELETE FROM audit.payload WHERE chain_no = 2 AND seq > 8;"
            "UPDATE audit.chain_head SET next_seq = 9, last_hash ="
            " (SELECT record_hash FROM audit.record WHERE chain_no = 2 AND seq = 8) WHERE chain_no = 2"
        ),
        {"screen_seals": [(11, "the chain is shorter than what was sealed")]},
    ),
    "all records of a chain gone": (
        "DELETE FROM audit.record WHERE chain_no = 2; DELETE FROM audit.payload WHERE chain_no = 2",
        {
            "screen_links": [(10, "the chain has no records, and its head says otherwise")],
            "screen_seals": [(11, "the chain is shorter than what was sealed")],
        },
    ),
    "a chain gone": (
        (
            "DELETE FROM audit.record WHERE chain_no = 2; DELETE FROM audit.payload WHERE chain_no = 2;"
            "DELETE FROM audit.chain_head WHERE chain_no = 2; DELETE FROM audit.chain WHERE chain_no = 2"
        ),
        {"screen_seals": [(11, "a sealed chain is gone")]},
    ),
    "a column changed": (
        f"UPDATE audit.record SET event_time_us = event_time_us + 1, appended_us = appended_us + 1 {ONE}",
        {
            "screen_columns": [(5, "appended_us, event_time_us")],
            "screen_payloads": [(5, "appended_at is not that of the record")],
        },
    ),
    "a kind changed": (
        f"UPDATE audit.record SET kind = 2 {ONE}",
        {"screen_columns": [(5, "kind")]},
    ),
    "an offset changed": (
        f"UPDATE audit.record SET source_offset = 100000 {ONE}",
        {"screen_columns": [(5, "source_offset")]},
    ),
    "a body changed": (
        f"UPDATE audit.payload SET body = body || '\\x00' {ONE}",
        {"screen_payloads": [(5, "body or salt is not what the record commits to")]},
    ),
    "a body taken away": (
        f"UPDATE audit.payload SET body = NULL {ONE}",
        {"screen_payloads": [(5, "the body is missing")]},
    ),
    "an enrichment changed": (
        f"UPDATE audit.payload SET enrich = enrich || ' ' {ONE}",
        {"screen_payloads": [(5, "the enrichment is not what the record commits to")]},
    ),
    "a payload deleted": (
        f"DELETE FROM audit.payload {ONE}",
        {
            "screen_missing": [
                (5, "committed to and not there, and neither an erasure nor a retention covers it")
            ]
        },
    ),
    "a seal deleted": (
        "DELETE FROM audit.seal WHERE seal_no = 1",
        {"screen_seals": [(2, "the seal before it is missing"), (4, "signed seals are gone")]},
    ),
    "the last seals deleted": (
        "DELETE FROM audit.seal WHERE seal_no > 0",
        {"screen_seals": [(4, "signed seals are gone")]},
    ),
    "seals exchanged": (
        "UPDATE audit.seal SET leaf = (SELECT leaf FROM audit.seal WHERE seal_no = 1) WHERE seal_no = 0",
        {"screen_seals": [(0, "the leaf is that of another seal")]},
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_tampering_is_found_where_it_was_done_and_nowhere_else(sealed, name):
    statements, expected = CASES[name]
    await tamper(sealed.admin_dsn, statements)
    assert await found(sealed.reporter_dsn) == expected


async def test_what_an_erasure_or_a_retention_covers_is_not_missing(sealed):
    """What the real orders leave behind, put there by hand; the rest of the deleted is still found."""
    await tamper(
        sealed.admin_dsn,
        "DELETE FROM audit.payload WHERE chain_no = 1 AND seq IN (5, 6, 24) OR chain_no = 2 AND seq = 4;"
        "INSERT INTO audit.erasure SELECT topic_id, partition, source_offset, 3, 1"
        " FROM audit.record JOIN audit.chain USING (chain_no) WHERE chain_no = 1 AND seq IN (5, 24)",
    )
    missing = (await found(sealed.reporter_dsn))["screen_missing"]
    assert {seq for seq, _ in missing} == {6, 24, 4}  # 24 is a skip record: nothing erases that
    await tamper(sealed.admin_dsn, "INSERT INTO audit.retention VALUES (3, 2, now())")
    assert {seq for seq, _ in (await found(sealed.reporter_dsn))["screen_missing"]} == {24}


async def test_a_chain_that_was_rewritten_with_all_its_hashes_is_not_seen_here(sealed):
    """What the comments on the views say: only a checkpoint from elsewhere tells."""
    await tamper(
        sealed.admin_dsn,
        "DELETE FROM audit.record WHERE chain_no = 2; DELETE FROM audit.payload WHERE chain_no = 2;"
        "DELETE FROM audit.chain_head WHERE chain_no = 2; DELETE FROM audit.chain WHERE chain_no = 2",
    )
    other = ChainRows(chain_no=2, partition=1, seed=3, step_us=999).events(10)
    await fill(sealed.admin_dsn, [other])
    await tamper(
        sealed.admin_dsn,
        "UPDATE audit.chain_head SET next_seq = 11, last_hash = (SELECT record_hash FROM audit.record"
        f" WHERE chain_no = {other.chain_no} AND seq = 10) WHERE chain_no = {other.chain_no}",
    )
    assert await found(sealed.reporter_dsn) == {}


async def test_every_view_says_what_it_does_not_see(database):
    connection = await asyncpg.connect(database.reporter_dsn)
    for name in VIEWS:
        said = await connection.fetchval("SELECT obj_description($1::regclass)", f"audit.{name}")
        assert said, name
    await connection.close()
