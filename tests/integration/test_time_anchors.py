"""Time anchors: the writer's records of what was sealed, and what a verification makes of them."""

import time

import asyncpg

from schemas.own_bodies import TimeAnchor, read_own
from schemas.record import Kind
from schemas.tlog.checkpoint import Checkpoint
from schemas.tlog.cosignature import CosignatureSigner
from schemas.tlog.note import split_note
from schemas.verification.findings import Change, Part
from services.reporter.evidence import read_evidence, read_policy
from services.reporter.verify import verify_database
from services.writer.batch import ANCHOR_EVERY_US
from tests.audit_tables import fill, tamper
from tests.builders import Log
from tests.chain_rows import START_US, ChainRows
from tests.recording import Recorder
from tests.rewriting import Attacked, overwrite
from tests.sealing import Sealing, Silent, silent_of


async def anchors_in(dsn):
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            "SELECT r.seq, p.body FROM audit.record r JOIN audit.payload p USING (chain_no, seq) WHERE kind = 9 ORDER BY seq"
        )
        return [(row["seq"], read_own(TimeAnchor, row["body"])) for row in rows]
    finally:
        await connection.close()


def evidence_of(sealing, *places):
    policy = read_policy([sealing.verifier.vkey()], None)
    return read_evidence([str(place) for place in places or (sealing.folder,)], policy)


async def test_once_an_hour_the_first_news_follow_on_the_last_seal(database, tmp_path):
    """With the cosignatures that came back, and the hash of the time-stamp; not before anything is sealed."""
    now_us = time.time_ns() // 1000
    log = Log()
    sealing = Sealing(database.sealer_dsn, tmp_path / "sealer", connect=Silent(None), patience_s=0.001)
    async with Recorder(database.writer_dsn, clock=lambda: now_us) as writer:
        await writer.record(log.event(0, -1), log.event(1))
        await sealing.rounds(2)
        note = (sealing.folder / "seal" / "checkpoint").read_bytes()
        line = (
            CosignatureSigner("witness.example", bytes(32)).cosign(split_note(note)[0], 1_800_000_000).line()
        )
        await sealing.sealer._store.note_publication("w1", 2, 1, line.encode())
        await sealing.sealer._store.note_publication("timestamp", 1, 2, b"token")
        writer.anchors._until = 0
        await writer.record(log.event(2))
        await writer.record(log.event(3))
        now_us += ANCHOR_EVERY_US
        await writer.record(
            log.event(5, 3)
        )  # offset 4 was not delivered: a skip record, which the anchor stands before
        await writer.record(log.event(5, 3)._replace(offset=0))  # a redelivery appends nothing, and no anchor
    async with Recorder(database.writer_dsn, clock=lambda: now_us) as later:
        await later.claim()
        await later.record(log.event(6))  # whoever takes over knows of the last one
    found = await anchors_in(database.admin_dsn)
    assert [seq for seq, _ in found] == [3, 6]
    assert {item.checkpoint for _, item in found} == {note.decode() + line}
    assert found[0][1].timestamp.size == 1
    await sealing.rounds(2)
    verification = await verify_database(database.reporter_dsn, evidence=evidence_of(sealing))
    assert verification.findings == []
    assert verification.chains[0].kinds[Kind.TIME_ANCHOR] == 2
    await sealing.close()


async def test_anchors_and_seals_tell_when_a_change_was_made(database, tmp_path):
    """A payload behind an anchor was changed after that, a record after it was sealed; both before they were read."""
    made, sealing, first_us = await _anchored(database, tmp_path)
    await tamper(
        database.admin_dsn,
        "UPDATE audit.payload SET body = 'x' WHERE seq = 15; DELETE FROM audit.record WHERE seq = 8",
    )
    verification = await verify_database(database.reporter_dsn, evidence=evidence_of(sealing))
    by_part = {(item.part, item.seq): item for item in verification.findings}
    payload, record = by_part[Part.PAYLOAD, 15], by_part[Part.RECORD, 8]
    assert payload.not_before_us == max(first_us, made.rows[15].appended_us)
    assert record.not_before_us == first_us
    assert {item.not_after_us for item in (payload, record)} == {verification.taken_us}
    await sealing.close()


async def test_a_checkpoint_of_another_history_in_a_chain_is_a_fork_and_one_from_the_future_is_dated_back(
    database, tmp_path
):
    made, sealing, _ = await _anchored(database, tmp_path)
    checkpoint = (sealing.folder / "seal" / "checkpoint").read_bytes()
    other = Sealing(database.sealer_dsn, tmp_path / "other", connect=silent_of(made))
    other_note = other.keys.sign(Checkpoint(f"{other.settings.origin}/seal", 1, bytes(32)))
    policy = read_policy([sealing.verifier.vkey(), other.verifier.vkey()], None)
    evidence = read_evidence([str(sealing.folder)], policy)
    more = ChainRows(chain_no=2, partition=1, seed=2).events(1)
    more.anchor(other_note)
    more.anchor(checkpoint)  # of an hour later, by the sealer's clock
    await fill(database.admin_dsn, [more])
    found = (await verify_database(database.reporter_dsn, evidence=evidence)).findings
    told = [(item.change, item.part, item.seq) for item in found if item.chain_no == 2]
    assert (Change.FORKED, Part.SEAL, 2) in told
    assert (Change.DISORDERED, Part.RECORD, 3) in told
    await sealing.close()


async def _anchored(database, tmp_path):
    """A chain of 10 records, sealed an hour after its start, then a time anchor and 10 more; when the first seal was."""
    made = ChainRows(chain_no=1).events(9)
    first_us = START_US + 3_600_000_000
    now_us = first_us
    await fill(database.admin_dsn, [made])
    sealing = Sealing(database.sealer_dsn, tmp_path / "sealer", connect=silent_of(made), clock=lambda: now_us)
    await sealing.rounds()
    made.step_us = 600_000_000
    made.anchor((sealing.folder / "seal" / "checkpoint").read_bytes())
    made.events(9)
    whole = Attacked(made.rows, made.contents, made.head, Change.EDITED, 0)  # no attack: the chain as it is
    await overwrite(database.admin_dsn, made, whole)
    return made, sealing, first_us
