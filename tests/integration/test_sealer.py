"""The sealer on a real broker and a real database: what is signed, what never is, and what a crash leaves."""

import asyncio
import json
import time

import asyncpg
import pytest
from kafka import TopicPartition

from schemas.seal import decode_seal
from schemas.tlog.checkpoint import open_checkpoint
from schemas.tlog.merkle import Frontier, leaf_hash
from schemas.tlog.tiles import decode_bundle, entries_path, tile_path
from services.common.errors import ConfigurationError, FatalError
from services.writer.sealer import directory, outlet, store
from services.writer.sealer.book import path_of
from services.writer.sealer.look import Look, Stretch
from services.writer.sealer.source import Reading, Source
from tests.audit_tables import fill, tamper
from tests.chain_rows import ChainRows
from tests.sealing import Sealing, Silent, chain_of, say_heads, send, silent_of
from tests.writing import read_all


def published(sealing, path):
    """The checkpoint of a tree as any reader of the directory opens it."""
    origin = f"example.com/test/{path}"
    note = (sealing.folder / path / "checkpoint").read_bytes()
    return open_checkpoint(note, sealing.key.renamed(origin).verifier).checkpoint


def published_leaves(sealing, path, size):
    """All entries of a tree, and their hashes by the tiles."""
    entries, hashes = [], b""
    for n in range((size + 255) // 256):
        width = min(256, size - n * 256)
        entries += decode_bundle((sealing.folder / path / entries_path(n, width)).read_bytes(), width)
        hashes += (sealing.folder / path / tile_path(0, n, width)).read_bytes()
    assert hashes == b"".join(map(leaf_hash, entries))
    return entries


def check_published(sealing):
    """The whole directory: every tree gives its signed root, the seal log lists every chain as it is published."""
    seal = published(sealing, "seal")
    leaves = published_leaves(sealing, "seal", seal.size)
    whole = Frontier()
    whole.extend(list(map(leaf_hash, leaves)))
    assert whole.root() == seal.root
    seals = list(map(decode_seal, leaves))
    assert [item.no for item in seals] == list(range(seal.size))
    for said in seals[-1].chains:
        chain = sealing.memory.chains[said.chain_id]
        if not said.size:
            continue
        checkpoint = published(sealing, path_of(chain))
        assert (checkpoint.size, checkpoint.root) == (said.size, said.root)
        tree = Frontier()
        tree.extend(list(map(leaf_hash, published_leaves(sealing, path_of(chain), said.size))))
        assert tree.root() == said.root
    return seals


@pytest.fixture
async def sealing(kafka, database, tmp_path):
    made = Sealing(database.sealer_dsn, tmp_path / "sealer", kafka)
    yield made
    await made.close()


async def test_what_the_topic_holds_is_signed_and_published(kafka, database, sealing):
    chain = chain_of(kafka, await asyncio.to_thread(send, kafka, 600))
    await fill(database.admin_dsn, [chain])
    await asyncio.to_thread(say_heads, kafka, chain)
    await sealing.rounds()
    seals = check_published(sealing)
    assert [(item.size, item.next_offset) for item in seals[-1].chains] == [(601, 600)]
    assert sealing.alerts == []
    assert sealing.memory.chains[chain.chain_id].compared == 601

    connection = await asyncpg.connect(database.reporter_dsn)
    rows = await connection.fetch(
        "SELECT tree, size, root, note, compared_size FROM audit.checkpoint ORDER BY tree"
    )
    assert [(row["tree"], row["size"], row["compared_size"]) for row in rows] == [(0, 1, 0), (1, 601, 601)]
    assert await connection.fetchval("SELECT count(*) FROM audit.tile WHERE tree = 1") == 2
    await connection.close()
    sent = await asyncio.to_thread(read_all, kafka, kafka.topics.checkpoints, 1)
    assert sent == [(sealing.folder / "seal" / "checkpoint").read_bytes()]


async def test_nothing_new_is_not_sealed_again_before_the_heartbeat(kafka, database, tmp_path):
    chain = chain_of(kafka, await asyncio.to_thread(send, kafka, 3))
    await fill(database.admin_dsn, [chain])
    await asyncio.to_thread(say_heads, kafka, chain)
    now = [1_800_000_000_000_000]
    sealing = Sealing(database.sealer_dsn, tmp_path / "sealer", kafka, clock=lambda: now[0])
    await sealing.rounds(3)
    assert published(sealing, "seal").size == 1
    now[0] += 599_000_000
    await sealing.rounds()
    assert published(sealing, "seal").size == 1
    now[0] += 2_000_000
    await sealing.rounds()
    assert published(sealing, "seal").size == 2
    seals = check_published(sealing)
    assert seals[0].chains == seals[1].chains
    await sealing.close()


CHANGES = {
    "edited with all hashes, and the head": (
        r"""UPDATE audit.payload SET body = '\x0000'::bytea WHERE seq = 30;
        UPDATE audit.record SET leaf = substr(leaf, 1, 163) || sha256(E'audit-pay/v1\n'::bytea
        || (SELECT salt || body FROM audit.payload WHERE seq = 30)) || substr(leaf, 196) WHERE seq = 30""",
        30,
    ),
    "payload deleted": ("DELETE FROM audit.payload WHERE seq = 20", 20),
    "salt changed": ("UPDATE audit.payload SET salt = sha256('x') WHERE seq = 25", 25),
    "timestamp backdated": (
        "UPDATE audit.record SET leaf = substr(leaf, 1, 90) || int8send(1) || substr(leaf, 99) WHERE seq = 40",
        40,
    ),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_row_changed_between_append_and_seal_is_not_signed(kafka, database, sealing, name):
    """Whatever is before it is signed; from it on nothing is, until it is as it was."""
    statements, seq = CHANGES[name]
    chain = chain_of(kafka, await asyncio.to_thread(send, kafka, 50))
    await fill(database.admin_dsn, [chain])
    await asyncio.to_thread(say_heads, kafka, chain)
    await tamper(database.admin_dsn, statements)
    await sealing.rounds(2)
    assert published(sealing, path_of(sealing.memory.chains[chain.chain_id])).size == seq
    assert "mismatch" in sealing.alerts
    check_published(sealing)


async def test_an_event_skipped_over_or_made_up_is_not_signed(kafka, database, sealing, tmp_path):
    """A skip record over what the topic holds, and a record of an offset that it never had."""
    sent = await asyncio.to_thread(send, kafka, 20)
    skipping = chain_of(kafka, sent[:9])
    skipping.skip(1)
    for message in sent[10:]:
        skipping.event(message=message)
    inventing = ChainRows(
        chain_no=2, topic=kafka.topics.events, topic_id=skipping.topic_id, partition=1, seed=2
    )
    inventing.events(3)
    await fill(database.admin_dsn, [skipping, inventing])
    await asyncio.to_thread(say_heads, kafka, skipping, inventing)
    await sealing.rounds()
    sizes = [sealing.memory.chains[chain.chain_id].size for chain in (skipping, inventing)]
    assert (sizes, sealing.alerts) == ([10, 1], ["mismatch", "mismatch"])


async def test_records_of_a_topic_made_anew_are_signed_after_patience_and_said_so(kafka, database, tmp_path):
    """What cannot be compared: held first, then signed with an alert, and counted as not compared."""
    chain = ChainRows(topic=kafka.topics.events).events(20)
    await fill(database.admin_dsn, [chain])
    await asyncio.to_thread(say_heads, kafka, chain)
    sealing = Sealing(database.sealer_dsn, tmp_path / "sealer", kafka, patience_s=0.5)
    await sealing.rounds()
    assert sealing.memory.chains[chain.chain_id].size == 1
    assert sealing.alerts == []
    await asyncio.sleep(0.6)
    await sealing.rounds()
    known = sealing.memory.chains[chain.chain_id]
    assert (known.size, known.compared, sealing.alerts) == (21, 1, ["uncompared"])
    await sealing.close()


SILENT_CHANGES = {
    "enrichment": "leaf = substr(leaf, 1, 195) || sha256('x')",
    "event time": "event_time_us = 7, leaf = substr(leaf, 1, 99) || int8send(7) || substr(leaf, 108)",
    "producer": "leaf = substr(leaf, 1, 139) || substr(sha256('x'), 1, 16) || substr(leaf, 156)",
}
RELINK = r"""
DO $$ DECLARE r record; last bytea := (SELECT sha256('\x00'::bytea || leaf) FROM audit.record WHERE seq = 29); BEGIN
FOR r IN SELECT seq FROM audit.record WHERE seq >= 30 ORDER BY seq LOOP
    UPDATE audit.record SET leaf = substr(leaf, 1, 38) || last || substr(leaf, 71) WHERE seq = r.seq;
    UPDATE audit.record SET record_hash = sha256('\x00'::bytea || leaf) WHERE seq = r.seq RETURNING record_hash INTO last;
END LOOP; UPDATE audit.chain_head SET last_hash = last; END $$
"""


@pytest.mark.parametrize(
    "relinked", [True, False], ids=["all hashes and the head rewritten", "left as it is"]
)
@pytest.mark.parametrize("what", SILENT_CHANGES)
async def test_what_no_topic_holds_is_not_signed_either_once_it_was_changed(
    database, tmp_path, what, relinked
):
    """The writer said, outside the database, where its chain ends: what does not lead there is never signed."""
    chain = ChainRows().events(50)
    await fill(database.admin_dsn, [chain])
    change = f"UPDATE audit.record SET {SILENT_CHANGES[what]} WHERE seq = 30"
    await tamper(database.admin_dsn, f"{change}; {RELINK}" if relinked else change)
    source = silent_of(chain)
    source._said = source._said[::10]  # batches of ten records: heads 1, 11, 21, 31, …
    sealing = Sealing(database.sealer_dsn, tmp_path / "sealer", connect=source, patience_s=0.2)
    for _ in range(4):
        await sealing.rounds()
        await asyncio.sleep(0.15)
    assert sealing.memory.chains[chain.chain_id].size == 21
    assert "not-appended" in sealing.alerts
    assert "uncompared" not in sealing.alerts
    await sealing.close()


async def test_a_backlog_is_gone_over_once_to_the_head_that_was_said(database, tmp_path, monkeypatch):
    """Only the last batches' heads are kept: what is read before them leads there, or is not signed."""
    chain = ChainRows().events(300)
    await fill(database.admin_dsn, [chain])
    source = silent_of(chain)
    source._said = source._said[-2:]
    for module in ("loop", "vouch"):
        monkeypatch.setattr(f"services.writer.sealer.{module}.READ_AT_ONCE", 64)
    sealing = Sealing(database.sealer_dsn, tmp_path / "sealer", connect=source)
    await sealing.rounds(6)
    known = sealing.memory.chains[chain.chain_id]
    assert (known.size, known.compared, sealing.alerts) == (301, 301, [])
    await sealing.close()
    await tamper(database.admin_dsn, "TRUNCATE audit.seal, audit.checkpoint, audit.tile")
    await tamper(
        database.admin_dsn, f"UPDATE audit.record SET {SILENT_CHANGES['enrichment']} WHERE seq = 250"
    )
    other = Sealing(
        database.sealer_dsn, tmp_path / "two", connect=source, patience_s=0.05, origin="example.com/two"
    )
    for _ in range(3):
        await other.rounds()
        await asyncio.sleep(0.1)
    assert other.memory.chains[chain.chain_id].size == 0
    assert "not-appended" in other.alerts
    await other.close()


async def test_kafka_away_holds_then_signs_uncompared(database, tmp_path):
    chain = ChainRows().events(20)
    await fill(database.admin_dsn, [chain])
    sealing = Sealing(database.sealer_dsn, tmp_path / "sealer", connect=Silent(None), patience_s=0.3)
    await sealing.rounds()
    assert sealing.memory.chains[chain.chain_id].size == 0
    await asyncio.sleep(0.4)
    await sealing.rounds()
    known = sealing.memory.chains[chain.chain_id]
    assert (known.size, known.compared, sealing.alerts) == (21, 0, ["uncompared"])
    await sealing.close()


async def test_a_database_set_back_is_not_signed_any_further(database, tmp_path):
    """The tail cut off, and the same chain grown on in another way: said, never signed."""
    chain = ChainRows().events(30)
    await fill(database.admin_dsn, [chain])
    sealing = Sealing(database.sealer_dsn, tmp_path / "sealer", connect=silent_of(chain))
    await sealing.rounds()
    await tamper(
        database.admin_dsn,
        "DELETE FROM audit.record WHERE seq > 20; DELETE FROM audit.payload WHERE seq > 20;"
        " UPDATE audit.chain_head SET next_seq = 21, last_hash = (SELECT record_hash FROM audit.record WHERE seq = 20)",
    )
    await sealing.rounds()
    assert sealing.alerts == ["set-back"]
    assert sealing.memory.chains[chain.chain_id].size == 31

    await tamper(
        database.admin_dsn,
        "DELETE FROM audit.record; DELETE FROM audit.payload; DELETE FROM audit.chain_head; DELETE FROM audit.chain",
    )
    other = ChainRows(seed=1, step_us=999_999).events(40)
    assert other.chain_id == chain.chain_id
    await fill(database.admin_dsn, [other])
    await tamper(database.admin_dsn, "UPDATE audit.chain_head SET next_seq = 41")
    await sealing.rounds()
    assert {"broken-link", "set-back"} <= set(sealing.alerts)
    assert sealing.memory.chains[chain.chain_id].size == 31
    check_published(sealing)
    await sealing.close()


async def test_a_restart_goes_on_where_it_was_with_or_without_its_memory(database, tmp_path):
    """From memory; from the directory and the database where the memory is lost; with a directory that is lost."""
    chain = ChainRows().events(600)
    await fill(database.admin_dsn, [chain])
    folder = tmp_path / "sealer"
    first = Sealing(database.sealer_dsn, folder, connect=silent_of(chain))
    await first.rounds()
    before = first.memory.as_json()
    await first.close()
    for lost in ((), ("memory.json",), ("published",), ("memory.json", "published")):
        for name in lost:
            target = folder / name
            _remove(target)
        again = Sealing(database.sealer_dsn, folder, connect=silent_of(chain))
        await again.rounds()
        assert again.memory.as_json() == before, lost
        check_published(again)
        assert again.alerts == []
        await again.close()


def _remove(path):
    if path.is_dir():
        for item in path.iterdir():
            _remove(item)
        path.rmdir()
    else:
        path.unlink()


async def test_a_sealer_that_forgot_and_a_database_that_was_set_back_do_not_make_a_second_history(
    database, tmp_path
):
    """Memory lost, the seals in the database fewer than those published: it stops, and says what to do."""
    chain = ChainRows().events(10)
    await fill(database.admin_dsn, [chain])
    folder = tmp_path / "sealer"
    first = Sealing(database.sealer_dsn, folder, connect=silent_of(chain), heartbeat_s=0.000001)
    await first.rounds(3)
    await first.close()
    (folder / "memory.json").unlink()
    await tamper(database.admin_dsn, "DELETE FROM audit.seal WHERE seal_no = 2")
    again = Sealing(database.sealer_dsn, folder, connect=silent_of(chain))
    with pytest.raises(FatalError, match="set back or changed"):
        await again.rounds()
    await again.close()


async def test_records_changed_while_the_sealer_was_away_freeze_their_chain_alone(database, tmp_path):
    one, two = ChainRows().events(10), ChainRows(chain_no=2, partition=1, seed=2).events(10)
    await fill(database.admin_dsn, [one, two])
    folder = tmp_path / "sealer"
    first = Sealing(database.sealer_dsn, folder, connect=silent_of(one, two))
    await first.rounds()
    await first.close()
    await tamper(
        database.admin_dsn,
        "UPDATE audit.record SET leaf = substr(leaf, 1, 90) || int8send(1) || substr(leaf, 99) WHERE chain_no = 1 AND seq = 4",
    )
    _remove(folder / "published")
    again = Sealing(database.sealer_dsn, folder, connect=silent_of(one, two), heartbeat_s=0.000001)
    await again.rounds()
    assert again.alerts == ["lost"]
    assert again.memory.chains[one.chain_id].frontier is None
    assert again.memory.chains[two.chain_id].frontier is not None
    seal = decode_seal(published_leaves(again, "seal", 2)[-1])
    assert [item.size for item in seal.chains] == [11, 11]
    await again.close()


async def test_a_disk_that_is_full_holds_the_seal_back_and_loses_nothing(database, tmp_path, monkeypatch):
    """Each step that writes fails once: the next rounds bring the same seal everywhere."""
    chain = ChainRows().events(300)
    await fill(database.admin_dsn, [chain])
    sealing = Sealing(database.sealer_dsn, tmp_path / "sealer", connect=silent_of(chain))
    await sealing.rounds(0)
    for owner, name in (
        (outlet, "write_memory"),
        (directory.Directory, "add"),
        (directory.Directory, "replace_checkpoint"),
        (store.Store, "keep"),
    ):
        real = getattr(owner, name)
        chain_now = sealing.memory.chains.get(chain.chain_id)

        def fail(*_arguments):
            raise OSError(28, "No space left on device")

        if chain_now is not None:
            sealing.sealer._settings = sealing.settings.model_copy(update={"heartbeat_s": 0.000001})
        monkeypatch.setattr(owner, name, fail)
        with pytest.raises(OSError, match="No space"):
            await sealing.rounds()
        monkeypatch.setattr(owner, name, real)
        await sealing.rounds()
        check_published(sealing)
    assert sealing.memory.chains[chain.chain_id].size == 301
    await sealing.close()


async def test_two_sealers_of_one_database_one_leads(database, tmp_path):
    one = Sealing(database.sealer_dsn, tmp_path / "one", connect=silent_of())
    two = Sealing(database.sealer_dsn, tmp_path / "two", connect=silent_of())
    assert await one.sealer._connected()
    assert not await two.sealer._connected()
    await one.close()
    for _ in range(50):
        if await two.sealer._connected():
            break
        await asyncio.sleep(0.1)
    assert two.sealer._store.connected
    await two.close()


def test_settings_and_keys_that_are_wrong_are_refused(tmp_path, database):
    first = Sealing(database.sealer_dsn, tmp_path / "sealer", connect=silent_of())
    assert oct(first.settings.folder.joinpath("key").stat().st_mode & 0o777) == "0o600"
    first.settings.folder.joinpath("key").chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        Sealing(database.sealer_dsn, tmp_path / "sealer", connect=silent_of())
    with pytest.raises(ConfigurationError, match="new-key") as told:
        Sealing(database.sealer_dsn, tmp_path / "other", connect=silent_of(), key="PRIVATE+KEY+x+y+z")
    assert "x+y+z" not in str(told.value)


async def test_the_service_seals_what_the_writer_appends_and_survives_kill_9(
    kafka, database, start_service, tmp_path
):
    """Enricher, writer and sealer as processes; the sealer is killed again and again in mid-flow."""
    variables = {
        "SEALER_DIR": str(tmp_path / "sealer"),
        "SEALER_INTERVAL_S": "0.1",
        "SEALER_ORIGIN": "example.com/test",
    }
    variables["DATABASE_URL"] = database.sealer_dsn
    start_service("enricher").wait_ready()
    start_service("writer").wait_ready()
    sent = 0
    for _ in range(5):
        sealer = start_service("writer", "sealer", **variables).wait_ready()
        await asyncio.to_thread(send, kafka, 300, sent % 3, sent)
        sent += 300
        await asyncio.sleep(0.5)
        sealer.kill()
    sealer = start_service("writer", "sealer", **variables).wait_ready()
    connection = await asyncpg.connect(database.reporter_dsn)
    query = (
        "SELECT coalesce(sum(next_seq), 0) = coalesce((SELECT sum(size) FROM (SELECT max(size) AS size FROM audit.checkpoint"
        " WHERE tree > 0 GROUP BY tree) AS sealed), -1) AND sum(next_source_offset) FILTER (WHERE topic LIKE '%.events') = $1"
        " FROM audit.chain_head JOIN audit.chain USING (chain_no)"
    )
    for _ in range(300):
        if await connection.fetchval(query, sent):
            break
        await asyncio.sleep(0.1)
    assert await connection.fetchval(query, sent)
    await connection.close()
    document = json.loads((tmp_path / "sealer" / "memory.json").read_bytes())
    assert all(chain["size"] == chain["compared"] for chain in document["chains"])
    assert sealer.stop() == 0
    check = Sealing(database.sealer_dsn, tmp_path / "sealer", kafka)
    await check.rounds()
    check_published(check)
    await check.close()


async def test_after_a_disaster_a_new_log_begins_once_the_old_one_is_set_aside(database, tmp_path):
    """Not before: two logs in one table would fit neither. The old rows are kept, the old checkpoint still catches."""
    chain = ChainRows().events(300)
    await fill(database.admin_dsn, [chain])
    first = Sealing(database.sealer_dsn, tmp_path / "one", connect=silent_of(chain))
    await first.rounds()
    await first.close()
    named = {"connect": silent_of(chain), "origin": "example.com/second"}
    early = Sealing(database.sealer_dsn, tmp_path / "two", **named)
    with pytest.raises(ConfigurationError, match="set_log_aside"):
        await early.rounds()
    await early.close()
    connection = await asyncpg.connect(database.admin_dsn)
    assert await connection.fetchval("SELECT audit.set_log_aside()") == 1 + 2 + 1
    kinds = await connection.fetch("SELECT DISTINCT kind FROM audit.former_log ORDER BY 1")
    assert [row["kind"] for row in kinds] == ["checkpoint", "seal", "tile"]
    await connection.close()
    for _ in range(2):  # a start, and one more
        second = Sealing(database.sealer_dsn, tmp_path / "two", **named, heartbeat_s=0.000001)
        await second.rounds()
        await second.close()
    assert second.memory.chains[chain.chain_id].size == 301
    assert second.memory.seals.size == 2


async def test_messages_that_were_fetched_too_early_are_there_when_their_records_come(kafka):
    """Three partitions whose records come in turns, in pieces: each look gets its messages at once, none waits for ever."""
    chains = [
        chain_of(
            kafka,
            await asyncio.to_thread(send, kafka, 1500, partition),
            partition=partition,
            seed=partition + 1,
        )
        for partition in range(3)
    ]
    source = await asyncio.to_thread(Source, kafka)
    try:
        for start in range(0, 1501, 500):
            for wanted in ((0,), (1, 2), (0, 1, 2)):
                if start == 0 or wanted != (0, 1, 2):
                    readings = [reading_of(chains[at], start, min(start + 500, 1501)) for at in wanted]
                    began = time.monotonic()
                    await asyncio.to_thread(source.compare, readings, 20)
                    assert time.monotonic() - began < 10
                    assert [reading.look.done and reading.look.mismatch for reading in readings] == [
                        None
                    ] * len(readings)
    finally:
        await asyncio.to_thread(source.close)


def reading_of(chain, first, end):
    rows = chain.rows[first:end]
    salts = {item.seq: item.salt for item in chain.contents}
    look = Look(Stretch(first, b"".join(row.leaf for row in rows), salts))
    return Reading(TopicPartition(chain.topic, chain.partition), chain.topic_id, max(first - 1, 0), look)
