"""`services.reporter.verify` on a real database: what a superuser changes is found, placed and named."""

from dataclasses import replace

import pytest

from schemas import record
from schemas.hole_alert import hole_alert_id
from schemas.verification import sweep
from schemas.verification.findings import Change, Part
from services.common.errors import ConfigurationError, TransientError
from services.reporter import sweeping, verify
from services.reporter.verify import verify_database
from tests.audit_tables import fill, tamper
from tests.chain_rows import ChainRows

AT = 50


def chains():
    """Two chains of events and one of our own events; chain 1 has records of all kinds of an events chain."""
    first = ChainRows(chain_no=1, first_offset=7).events(20)
    first.poison()
    first.withheld()
    first.duplicate(3)
    first.skip(5)
    first.events(60)
    second = ChainRows(chain_no=2, partition=1, seed=2).events(30)
    system = ChainRows(chain_no=3, topic="audit.system", seed=3)
    for _ in range(5):
        system.own_event()
    annotations = ChainRows(chain_no=4, topic="audit.annotations", seed=4)
    annotations.annotation(first.topic_id, 0, 8)
    return [first, second, system, annotations]


def said(verification):
    return [
        (item.chain_no, item.change, item.part, item.seq, item.source_offset)
        for item in verification.findings
    ]


async def test_an_untouched_database_is_good_read_as_reporter(database):
    """Whole, one chain alone, the leaves alone, and in ranges of any length in rows or bytes."""
    await fill(database.admin_dsn, chains())
    seen = []
    verification = await verify_database(
        database.reporter_dsn, progress=lambda done, total: seen.append((done, total))
    )
    assert verification.findings == []
    assert verification.good
    assert [result.records for result in verification.chains] == [85, 31, 6, 2]
    assert verification.records == 124
    assert seen[-1] == (124, 124)
    assert not verification.partial

    alone = await verify_database(database.reporter_dsn, chains=[2])
    assert [result.chain.chain_no for result in alone.chains] == [2]
    assert alone.partial
    with pytest.raises(ConfigurationError, match="there is no chain 9"):
        await verify_database(database.reporter_dsn, chains=[9])

    for rows, size in [(1, 2**20), (7, 2**20), (8192, 1), (8192, 2000)]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sweeping, "READ_RECORDS", rows)
            patch.setattr(sweeping, "READ_BYTES", size)
            swept = await verify_database(database.reporter_dsn)
            patch.setattr(verify, "join", lambda *_: None)  # as if no range were clean: the way that explains
            gone_through = await verify_database(database.reporter_dsn)
        assert (swept.findings, swept.records) == ([], 124)
        assert (gone_through.findings, gone_through.records) == ([], 124)

    for length in (1, 2, 16, 64):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(verify, "RANGE", length)
            patch.setattr(sweep, "RANGE", length)
            patch.setattr(verify, "go_through", None)  # every range is clean, and they join
            ranged = await verify_database(database.reporter_dsn)
        assert (ranged.findings, ranged.records) == ([], 124)

    await tamper(database.admin_dsn, "DELETE FROM audit.payload")
    assert (await verify_database(database.reporter_dsn, contents=False)).good
    assert not (await verify_database(database.reporter_dsn)).good


@pytest.mark.parametrize("closed", [False, True])
async def test_a_chain_that_waits_for_what_has_not_arrived_is_not_good(database, closed):
    """By the writer's recorded alert, while the head stands where the hole begins; a hole that was filled is none."""
    filled = ChainRows(partition=1, seed=2).events(30)
    waiting = ChainRows(chain_no=2).events(20)
    following = []
    if closed:
        after = ChainRows(chain_no=3, seed=5, topic="audit.events")
        waiting.close(after.chain_id)
        previous = {
            "chain_id": waiting.chain_id.hex(),
            "last_hash": waiting.last_hash.hex(),
            "next_seq": waiting.count,
            "why": "topic-recreated",
        }
        following = [ChainRows(chain_no=3, seed=5, previous=previous, previous_no=2)]
    system = ChainRows(chain_no=4, topic="audit.system", seed=3)
    for chain, expected in ((filled, 12), (waiting, 20)):
        system.own_event(id=hole_alert_id(chain.topic_id, chain.partition, expected))
    await fill(database.admin_dsn, [filled, waiting, *following, system])
    verification = await verify_database(database.reporter_dsn)
    assert said(verification) == [(2, Change.NOT_ARRIVED, Part.CHAIN, None, 20)]
    assert ("closed" if closed else "piperoll replay offsets") in verification.findings[0].detail
    assert not verification.good
    assert (await verify_database(database.reporter_dsn, chains=[1])).good


async def test_an_empty_database_is_good_and_says_so_with_zero_records(database):
    verification = await verify_database(database.reporter_dsn)
    assert (verification.good, verification.records) == (True, 0)


async def test_a_database_that_does_not_answer_cannot_be_verified():
    with pytest.raises(TransientError, match="DATABASE_URL"):
        await verify_database("postgresql://nobody@127.0.0.1:9/none")


async def test_a_database_without_our_tables_cannot_be_verified(postgres_server):
    with pytest.raises(ConfigurationError, match="piperoll migrate"):
        await verify_database(postgres_server)


LEAF = "substr(leaf, 1, {at}) || '\\x{new}'::bytea || substr(leaf, {after})"
REHASHED = f"leaf = {LEAF}, record_hash = sha256('\\x00'::bytea || {LEAF})"
ROW = "WHERE chain_no = {chain} AND seq = 50"

SWAP = """
UPDATE audit.record SET seq = -1 WHERE chain_no = {chain} AND seq = 50;
UPDATE audit.record SET seq = 50 WHERE chain_no = {chain} AND seq = 51;
UPDATE audit.record SET seq = 51 WHERE chain_no = {chain} AND seq = -1
"""


def set_bytes(at, new, *, rehash):
    """SQL that replaces bytes of the leaf of record 50 from `at` on (0-based)."""
    changes = (REHASHED if rehash else f"leaf = {LEAF}").format(at=at, new=new, after=at + len(new) // 2 + 1)
    return f"UPDATE audit.record SET {changes} {ROW}"


def enrichment(old, new):
    text = f"convert_to(replace(convert_from(enrich, 'UTF8'), '{old}', '{new}'), 'UTF8')"
    return f"UPDATE audit.payload SET enrich = {text} {ROW}"


TAMPERINGS = {
    "edit leaf": (
        set_bytes(74, "00" * 8, rehash=False),
        Change.EDITED,
        Part.RECORD,
        50,
        56,
        ("appended_us",),
    ),
    "edit leaf and hash": (
        set_bytes(99, "00" * 8, rehash=True),
        Change.EDITED,
        Part.RECORD,
        50,
        56,
        ("event_time_us",),
    ),
    "edit column": (
        f"UPDATE audit.record SET identity_hash = 0 {ROW}",
        Change.EDITED,
        Part.COLUMN,
        50,
        56,
        ("identity_hash",),
    ),
    "edit payload": (
        f"UPDATE audit.payload SET body = body || '\\x00'::bytea {ROW}",
        Change.EDITED,
        Part.PAYLOAD,
        50,
        56,
        ("body",),
    ),
    "edit enrichment": (
        enrichment("informational", "high"),
        Change.EDITED,
        Part.ENRICHMENT,
        50,
        56,
        ("enrich",),
    ),
    "delete payload": (
        f"DELETE FROM audit.payload {ROW}",
        Change.MISSING,
        Part.PAYLOAD,
        50,
        56,
        ("salt", "body"),
    ),
    "move payload": (
        f"UPDATE audit.payload SET appended_at = appended_at + interval '1 month' {ROW}",
        Change.EDITED,
        Part.COLUMN,
        50,
        56,
        ("payload.appended_at",),
    ),
    "delete middle": (
        "DELETE FROM audit.record WHERE chain_no = {chain} AND seq BETWEEN 50 AND 52",
        Change.DELETED,
        Part.RECORD,
        50,
        56,
        (),
    ),
    "delete tail": (
        "DELETE FROM audit.record WHERE chain_no = {chain} AND seq > 55",
        Change.TRUNCATED,
        Part.RECORD,
        56,
        62,
        (),
    ),
    "swap": (
        SWAP,
        Change.REORDERED,
        Part.RECORD,
        50,
        56,
        ("seq",),
    ),
    "edit head": (
        "UPDATE audit.chain_head SET next_source_offset = 3 WHERE chain_no = {chain}",
        Change.EDITED,
        Part.HEAD,
        60,
        None,
        ("next_source_offset",),
    ),
    "edit chain": (
        "UPDATE audit.chain SET partition = 500 WHERE chain_no = {chain}",
        Change.EDITED,
        Part.CHAIN,
        0,
        None,
        ("partition",),
    ),
    "delete chain's row": (
        "DELETE FROM audit.chain_head WHERE chain_no = {chain}; DELETE FROM audit.chain WHERE chain_no = {chain}",
        Change.DELETED,
        Part.CHAIN,
        None,
        None,
        (),
    ),
}


async def test_what_a_superuser_changes_is_found_placed_and_named(database):
    """Each tampering in a chain of its own, and one chain that nobody touched."""
    made = [
        ChainRows(chain_no=number + 1, partition=number, seed=number, first_offset=7).events(60)
        for number in range(len(TAMPERINGS) + 1)
    ]
    await fill(database.admin_dsn, made)
    for number, (statements, *_) in enumerate(TAMPERINGS.values(), start=1):
        await tamper(database.admin_dsn, statements.format(chain=number))
    verification = await verify_database(database.reporter_dsn)
    first = {}
    for item in verification.findings:
        first.setdefault(item.chain_no, (item.change, item.part, item.seq, item.source_offset, item.fields))
    names = [*TAMPERINGS]
    assert {names[chain - 1]: found for chain, found in first.items()} == {
        name: tuple(expected) for name, (_, *expected) in TAMPERINGS.items()
    }
    assert verification.found == len(TAMPERINGS) + 1  # a missing payload row is payload and enrichment


async def test_an_inserted_record_is_found_where_it_was_put(database):
    """Forged with right links, hash and columns, the true rows renumbered; found also by processes of their own."""
    made = chains()
    await fill(database.admin_dsn, made)
    row = made[0].rows[AT]
    forged = record.encode(record.decode(row.leaf)._replace(event_time_us=7)).hex()
    await tamper(
        database.admin_dsn,
        f"""
        ALTER TABLE audit.record DROP CONSTRAINT record_chain_no_source_offset_key;
        UPDATE audit.record SET seq = -seq - 1 WHERE chain_no = 1 AND seq >= {AT};
        UPDATE audit.record SET seq = -seq WHERE chain_no = 1 AND seq < 0;
        INSERT INTO audit.record VALUES (1, {AT}, 1, {row.source_offset}, {row.appended_us}, 7, {row.identity_hash},
            sha256('\\x00{forged}'), '\\x{forged}')
        """,
    )
    alone = await verify_database(database.reporter_dsn, processes=1)
    assert said(alone) == [(1, Change.INSERTED, Part.RECORD, AT, 60)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, "_FEW_RECORDS", 0)
        apart = await verify_database(database.reporter_dsn, processes=2)
    assert [replace(item, not_after_us=None) for item in apart.findings] == [
        replace(item, not_after_us=None) for item in alone.findings
    ]  # they were read at other times
    assert [result.records for result in apart.chains] == [86, 31, 6, 2]


async def test_numbers_far_outside_a_chain_are_read_too(database):
    """A row hidden under the largest number is found without counting up to it."""
    await fill(database.admin_dsn, chains())
    await tamper(
        database.admin_dsn,
        "UPDATE audit.record SET seq = 9223372036854775807 WHERE chain_no = 1 AND seq = 84;"
        "UPDATE audit.record SET seq = -9223372036854775808 WHERE chain_no = 1 AND seq = 0",
    )
    verification = await verify_database(database.reporter_dsn)
    assert not verification.good
    assert verification.records == 124
