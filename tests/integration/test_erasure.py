"""An erasure takes payloads with it in the transaction that records it, and verification tells it from tampering."""

import asyncio
import os
import time
from random import Random

import asyncpg
import pytest

from schemas.commitment import decode_body
from schemas.own_events import ERASURE
from schemas.record import decode
from schemas.verification.findings import Change, Part
from services.common.errors import TransientError
from services.reporter import apart
from services.reporter.verify import verify_database
from services.writer import store
from services.writer.batch import IDENTITY_UNCHECKED
from services.writer.chain import Order
from services.writer.sealer.store import Store as SealerStore
from tests.audit_tables import tamper
from tests.builders import Log, Message, annotation, structured
from tests.orders import erasure, order
from tests.recording import TOPICS, Recorder
from tests.sealing import Sealing, Sent, Silent

VALUE = structured("/a", "x", "data_export", 1)


def about(log: Log, offset: int, **said) -> Message:
    return Message(None, annotation(log.topic_id, 0, offset, **said), [])


class World:
    """A chain of events, one of annotations and one of own events, each with its writer."""

    def __init__(self, database, events, said, system, admin):
        self.database, self.events, self.said, self.system = database, events, said, system
        self.admin = admin
        self.log = Log()

    async def erase(self, *offsets: int, **changes):
        await self.system.record(erasure([(self.log.topic_id, 0, offset) for offset in offsets], **changes))

    async def payloads(self) -> list[tuple[str, int]]:
        """(topic, source offset) of every record that has a payload, our own kinds left out."""
        rows = await self.admin.fetch(
            "SELECT c.topic, r.source_offset FROM audit.payload p JOIN audit.record r USING (chain_no, seq)"
            " JOIN audit.chain c USING (chain_no) WHERE r.kind IN (1, 2, 3, 7) ORDER BY 1 DESC, 2"
        )
        return [(row[0].partition(".")[2], row[1]) for row in rows]

    async def verify(self):
        return await verify_database(self.database.reporter_dsn)


@pytest.fixture
async def world(database):
    """Four events and a repeat of the second at offset 4; annotations about events 1 and 2."""
    async with (
        Recorder(database.writer_dsn) as events,
        Recorder(database.writer_dsn, TOPICS.annotations) as said,
        Recorder(database.writer_dsn, TOPICS.system) as system,
    ):
        admin = await asyncpg.connect(database.admin_dsn)
        made = World(database, events, said, system, admin)
        log = made.log
        await events.record(log.event(0, -1), log.event(1, source="/a", identifier="x", value=VALUE))
        await events.record(
            log.event(2), log.poison(3), log.event(4, source="/a", identifier="x", value=VALUE)
        )
        await said.record(about(log, 1), about(log, 2))
        yield made
        await admin.close()


async def test_what_it_names_goes_and_verification_counts_it(world):
    await world.erase(1, 3, 4)
    assert await world.payloads() == [("events", 0), ("events", 2), ("annotations", 1)]
    verification = await world.verify()
    assert verification.findings == []
    assert verification.erased == 4
    assert [(result.chain.topic, result.erased) for result in verification.chains] == [
        ("audit.events", 3),
        ("audit.annotations", 1),
        ("audit.system", 0),
    ]
    row = await world.admin.fetchrow("SELECT * FROM audit_events WHERE kafka_offset = 1")
    assert (row["event_data"], row["ai_summary"], row["actor"], row["event_id"]) == (None, None, None, None)
    assert row["record_hash"] is not None


async def test_lawful_gaps_leave_the_fast_pass_clean_and_the_sealer_knows_them(world, monkeypatch):
    """No chain is gone through record by record for them; the second look asks which payloads were erased."""
    await world.erase(1, 3, 4)
    monkeypatch.setattr(apart, "go_through", None)
    verification = await world.verify()
    assert (verification.findings, verification.erased) == ([], 4)
    sealer = SealerStore(world.database.sealer_dsn)
    await sealer.open()
    stretch = await sealer.stretch(1, 0, 6)
    assert (stretch.count, stretch.erased) == (6, {1, 3, 4})
    assert (await sealer.stretch(1, 0, 2)).erased == set()
    await sealer.close()


async def test_it_is_carried_out_in_the_batch_that_brings_the_events_too(database):
    """One writer has all partitions: events, annotations and the order are in one transaction."""
    log = Log()
    async with (
        Recorder(database.writer_dsn) as events,
        Recorder(database.writer_dsn, TOPICS.annotations) as said,
        Recorder(database.writer_dsn, TOPICS.system) as system,
    ):
        batch = [
            (events.place, await events.link(log.event(0, -1), log.event(1))),
            (said.place, await said.link(about(log, 1))),
            (system.place, await system.link(erasure([(log.topic_id, 0, 1)]))),
        ]
        await events.store.append(batch)
    verification = await verify_database(database.reporter_dsn)
    assert (verification.findings, verification.erased) == ([], 2)


async def test_what_comes_later_about_it_is_recorded_without_its_text(world):
    """An annotation, and an event under its coordinates; the annotation's record still says what it is about."""
    await world.erase(1, 9)
    await world.said.record(about(world.log, 2, model="other"), about(world.log, 1, model="other"))
    await world.events.record(*(world.log.event(offset) for offset in range(5, 12)))
    assert ("annotations", 2) in await world.payloads()
    assert ("annotations", 3) not in await world.payloads()
    assert [offset for topic, offset in await world.payloads() if topic == "events"] == [
        *(0, 2, 3, 4, 5, 6, 7, 8, 10, 11)
    ]
    verification = await world.verify()
    assert (verification.findings, verification.erased) == ([], 4)


async def test_a_repeat_of_an_erased_event_is_told_and_can_be_erased_too(world):
    """What it keeps, a salted commitment, could be matched against guesses."""
    await world.erase(1, 4)
    await world.events.record(world.log.event(5, source="/a", identifier="x", value=VALUE))
    row = await world.admin.fetchrow(
        "SELECT r.kind, p.original_salt, convert_from(audit.value_of(p.body), 'UTF8') AS said"
        " FROM audit.record r JOIN audit.payload p USING (chain_no, seq) WHERE r.source_offset = 5"
    )
    assert row["kind"] == 2
    assert IDENTITY_UNCHECKED in row["said"]
    await world.erase(5)
    verification = await world.verify()
    assert (verification.findings, verification.erased) == ([], 4)


async def test_a_redelivery_of_an_erased_event_is_dropped(world):
    await world.erase(2)
    linked = await world.events.record(world.log.event(2, 1))
    assert linked.dropped == {"redelivered": 1}
    assert (await world.verify()).good


async def test_two_erasures_of_one_event_are_both_good(world):
    await world.erase(1)
    await world.erase(1, 2)
    verification = await world.verify()
    assert (verification.findings, verification.erased) == ([], 4)


WRONG = {
    "no events": {"events": []},
    "a field beyond": {"events": [{"topic_id": "00" * 16, "partition": 0, "source_offset": 1, "more": 1}]},
    "no topic id": {"events": [{"topic_id": "zz", "partition": 0, "source_offset": 1}]},
    "no reason": {"reason": ""},
    "U+0000": {"reason": "\0"},
    "a number of 400,000 digits": {"part": 10**300},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
async def test_an_order_not_written_as_it_must_be_is_recorded_without_effect_and_said(world, changes):
    [*places] = await world.payloads()
    linked = await world.system.link(erasure([(world.log.topic_id, 0, 1)], **changes))
    assert [alert.name for alert in linked.alerts] == ["order_unusable"]
    await world.system.store.append([(world.system.place, linked)])
    assert await world.payloads() == places
    verification = await world.verify()
    assert (verification.findings, verification.erased) == ([], 0)


COLUMNS = "chain_no, seq, audit.moment(appended_us), sha256('x'), 'x', NULL, NULL, NULL"
NAMED, NAMED_ELSE = b'"source_offset": 1}', b'"source_offset": 2}'
TAMPERINGS = {
    "a payload gone without a record": (
        "DELETE FROM audit.payload WHERE chain_no = 1 AND seq = 3",
        {(1, Change.MISSING, Part.PAYLOAD), (1, Change.MISSING, Part.ENRICHMENT)},
    ),
    "an annotation gone without a record, said to be about an erased event": (
        """DELETE FROM audit.payload WHERE chain_no = 2 AND seq = 2;
        UPDATE audit.annotation SET source_offset = 1 WHERE chain_no = 2 AND seq = 2""",
        {(2, Change.MISSING, Part.PAYLOAD)},
    ),
    "an erasure put into the index": (
        """INSERT INTO audit.erasure SELECT topic_id, 0, 2, 3, 1 FROM audit.chain WHERE chain_no = 1;
        DELETE FROM audit.payload WHERE chain_no = 1 AND seq = 3""",
        {
            (1, Change.MISSING, Part.PAYLOAD),
            (1, Change.MISSING, Part.ENRICHMENT),
            (3, Change.INSERTED, Part.ERASURE),
        },
    ),
    "an erasure taken out of the index": (
        "DELETE FROM audit.erasure",
        {(3, Change.MISSING, Part.ERASURE)},
    ),
    "the erasure's record made to name another event": (
        f"UPDATE audit.payload SET body = decode(replace(encode(body, 'hex'), '{NAMED.hex()}', '{NAMED_ELSE.hex()}'), 'hex')",
        {
            (3, Change.EDITED, Part.PAYLOAD),
            (3, Change.INSERTED, Part.ERASURE),
            (1, Change.MISSING, Part.PAYLOAD),
            (1, Change.MISSING, Part.ENRICHMENT),
            (2, Change.MISSING, Part.PAYLOAD),
        },
    ),
    "an erased payload brought back": (
        f"INSERT INTO audit.payload SELECT {COLUMNS} FROM audit.record WHERE chain_no = 1 AND source_offset = 1",
        {
            (1, Change.NOT_ERASED, Part.PAYLOAD),
            (1, Change.EDITED, Part.PAYLOAD),
            (1, Change.MISSING, Part.ENRICHMENT),
        },
    ),
}


@pytest.mark.parametrize(("statements", "expected"), TAMPERINGS.values(), ids=TAMPERINGS)
async def test_tampering_with_an_erasure_as_the_excuse_is_found(world, statements, expected):
    await world.erase(1)
    assert (await world.verify()).good
    await tamper(world.database.admin_dsn, statements)
    found = (await world.verify()).findings
    assert {(one.chain_no, one.change, one.part) for one in found} == expected


async def test_the_writer_erases_nothing_without_a_record_in_the_same_transaction(world):
    await world.erase(1)
    connection = await asyncpg.connect(world.database.writer_dsn)
    try:
        for chain, seq in ((3, 1), (1, 1), (3, 9)):
            with pytest.raises(asyncpg.PostgresError) as caught:
                await connection.execute("SELECT audit.erase($1, $2)", chain, seq)
            assert caught.value.sqlstate == "PR003"
        for sql in (
            "DELETE FROM audit.payload",
            "INSERT INTO audit.erasure VALUES (decode(repeat('00', 16), 'hex'), 0, 0, 3, 1)",
            "SELECT audit.order_data(3::smallint, 1, 'piperoll.erasure')",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(sql)
    finally:
        await connection.close()


async def test_an_own_event_of_another_type_erases_nothing(world):
    """The function reads the record itself, whatever the writer takes it for."""
    events = [{"topic_id": world.log.topic_id.hex(), "partition": 0, "source_offset": 1}]
    linked = await world.system.link(order("piperoll.alert", {"events": events}))
    section = linked.sections[-1]
    section.orders.append(Order(ERASURE, section.chain.next_seq - 1))
    before = await world.payloads()
    await world.system.store.append([(world.system.place, linked)])
    assert await world.payloads() == before


async def test_it_waits_for_what_is_being_appended_and_then_takes_it_too(world):
    """An annotation whose transaction is open when the erasure comes: neither misses the other."""
    writer = await asyncpg.connect(world.database.writer_dsn)
    await writer.execute("BEGIN; SELECT pg_advisory_xact_lock_shared(audit.order_lock())")
    erasing = asyncio.create_task(world.erase(2))
    await asyncio.sleep(0.5)
    assert not erasing.done()
    late = asyncio.create_task(world.said.record(about(world.log, 2, model="late")))
    await asyncio.sleep(0.2)
    await writer.execute("COMMIT")
    await asyncio.gather(erasing, late)
    await writer.close()
    assert [offset for topic, offset in await world.payloads() if topic == "annotations"] == [0]
    verification = await world.verify()
    assert (verification.findings, verification.erased) == ([], 3)


async def test_erasures_amid_three_busy_writers_leave_nothing_behind(world):
    """Events and annotations are appended while erasures name some before, some after they are recorded."""
    chance = Random(7)
    target = list(range(5, 245))
    chance.shuffle(target)

    async def events():
        for first in range(5, 245, 8):
            await world.events.record(*(world.log.event(offset) for offset in range(first, first + 8)))

    async def annotations():
        for number in range(60):
            offset = chance.randrange(0, 250)
            await world.said.record(about(world.log, offset, run=str(number)))

    async def erasures():
        for at in range(0, 120, 4):
            await world.erase(*target[at : at + 4])

    await asyncio.gather(events(), annotations(), erasures())
    verification = await world.verify()
    assert verification.findings == []
    assert verification.erased >= 120


async def test_an_order_that_fails_leaves_neither_record_nor_effect(world, monkeypatch):
    async def fail(*_):
        raise asyncpg.exceptions.SerializationError("not now")

    before, head = await world.payloads(), "SELECT count(*) FROM audit.record WHERE kind = 8"
    with monkeypatch.context() as patch:
        patch.setattr(store, "carry_out", fail)
        with pytest.raises(TransientError):
            await world.erase(1)
    assert await world.payloads() == before
    assert await world.admin.fetchval(head) == 0
    assert (await world.verify()).good


async def test_a_large_erasure_takes_seconds(world):
    """4,000 events by one order, named among 8,000 that other orders name."""
    await world.events.record(*(world.log.event(offset) for offset in range(5, 4005)))
    start = time.monotonic()
    await world.erase(*range(5, 4005))
    assert time.monotonic() - start < 10
    other = os.urandom(16)
    await world.system.record(erasure([(other, 0, offset) for offset in range(4000)]))
    verification = await world.verify()
    assert (verification.findings, verification.erased) == ([], 4000)


async def test_what_was_erased_before_it_was_sealed_is_sealed_and_what_was_only_taken_away_is_not(
    world, tmp_path
):
    """A record of the erasure stands for the look at the topic; a forged row of the index does not."""
    log, held = world.log, {}

    def topic(at):
        return held.get((at.topic, at.partition), [])

    rows = await world.admin.fetch(
        "SELECT c.topic, r.source_offset, r.leaf, p.body, r.kind FROM audit.record r JOIN audit.chain c USING (chain_no)"
        " JOIN audit.payload p USING (chain_no, seq) WHERE r.source_offset IS NOT NULL ORDER BY chain_no, seq"
    )
    for row in rows:
        body = decode_body(row["body"])
        if row["kind"] == 2:
            body = decode_body(rows[1]["body"])
        record = decode(row["leaf"])
        headers = [(name.decode(), value) for name, value in body.headers]
        held.setdefault((row["topic"], 0), []).append(
            Sent(
                row["source_offset"], record.kafka_ts_ms, record.kafka_ts_type, body.key, body.value, headers
            )
        )
    await world.erase(1, 4)
    system = await world.admin.fetchrow(
        "SELECT r.source_offset, r.leaf, p.body FROM audit.record r JOIN audit.payload p USING (chain_no, seq) WHERE kind = 8"
    )
    record, body = decode(system["leaf"]), decode_body(system["body"])
    held["audit.system", 0] = [
        Sent(system["source_offset"], record.kafka_ts_ms, record.kafka_ts_type, None, body.value, [])
    ]
    sealing = Sealing(world.database.sealer_dsn, tmp_path / "one", connect=Silent(topic))
    await sealing.rounds()
    assert sealing.alerts == []
    assert {chain.size - chain.compared for chain in sealing.memory.chains.values()} == {0}
    await sealing.close()

    place = f"'\\x{log.topic_id.hex()}', 0, 2"
    await tamper(
        world.database.admin_dsn,
        f"DELETE FROM audit.payload WHERE chain_no = 1 AND seq = 3; INSERT INTO audit.erasure VALUES ({place}, 3, 1);"
        " TRUNCATE audit.seal, audit.checkpoint, audit.tile",
    )
    again = Sealing(
        world.database.sealer_dsn, tmp_path / "two", connect=Silent(topic), origin="example.com/two"
    )
    await again.rounds()
    assert again.alerts == ["mismatch"]
    assert sorted(chain.size for chain in again.memory.chains.values()) == [2, 3, 3]
    await again.close()
