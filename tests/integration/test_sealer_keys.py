"""A key is changed without a moment in which nobody could tell who signs."""

import json

import pytest

from schemas.events import parse_time
from schemas.tlog.checkpoint import open_checkpoint
from schemas.tlog.note import new_key, split_note
from services.common.errors import ConfigurationError
from services.writer.sealer.key import Keys
from services.writer.sealer.key_change import change_id
from services.writer.sealer.key_history import extended, key_ranges
from tests.audit_tables import fill
from tests.chain_rows import ChainRows
from tests.sealing import Sealing, silent_of

ORIGIN = "example.com/test/seal"
OLD, NEW = new_key(ORIGIN), new_key(ORIGIN)
EVENTS = ChainRows().events(4)
SYSTEM = ChainRows(chain_no=2, topic="audit.system", topic_id=b"s" * 16, seed=2)


def sealing_of(database, folder, key, next_key=None, *chains):
    folder.mkdir(exist_ok=True)
    named = {"key": key.private()} | ({} if next_key is None else {"next_key": next_key.private()})
    return Sealing(
        database.sealer_dsn, folder, connect=silent_of(*(chains or (EVENTS,))), heartbeat_s=0.000001, **named
    )


def signers(sealing, path="seal"):
    _, signatures = split_note((sealing.folder / path / "checkpoint").read_bytes())
    known = {OLD.verifier.key_id: "old", NEW.verifier.key_id: "new"}
    if path != "seal":
        name = f"example.com/test/{path}"
        known = {OLD.renamed(name).verifier.key_id: "old", NEW.renamed(name).verifier.key_id: "new"}
    return [known[item.key_id] for item in signatures]


def chain_path():
    return f"audit.events/0/{EVENTS.chain_id.hex()[:16]}"


async def test_a_change_is_recorded_sealed_by_the_old_key_and_then_signed_by_both(database, tmp_path):
    await fill(database.admin_dsn, [EVENTS])
    folder = tmp_path / "sealer"
    first = sealing_of(database, folder, OLD)
    await first.rounds(2)
    await first.close()

    changing = sealing_of(database, folder, OLD, NEW, EVENTS, SYSTEM)
    await changing.rounds(2)
    (event,) = [json.loads(item) for item in changing.outlet.recorded]
    assert (event["type"], event["source"]) == ("piperoll.key-change", "piperoll/sealer")
    assert event["id"] == change_id(changing.keys, ORIGIN)
    assert event["data"] == {"old_vkey": OLD.verifier.vkey(), "new_vkey": NEW.verifier.vkey()}
    assert parse_time(event["time"])
    assert signers(changing) == ["old"]

    system = ChainRows(chain_no=2, topic="audit.system", topic_id=b"s" * 16, seed=2)
    system.own_event(id=event["id"], source=event["source"], type=event["type"], data=event["data"])
    await fill(database.admin_dsn, [system])
    changing.sealer._source = silent_of(EVENTS, system)
    await changing.rounds()
    covering = (
        changing.memory.seals.size
    )  # the seal that covers the record bears the old key's signature alone
    assert changing.memory.chains[system.chain_id].size == 2
    assert signers(changing) == ["old"]
    await changing.rounds()
    assert signers(changing) == ["old", "new"]
    assert signers(changing, chain_path()) == ["old", "new"]
    document = json.loads((changing.folder / "log.json").read_bytes())
    assert (document["seal"]["vkey"], document["seal"]["next_vkey"]) == (
        OLD.verifier.vkey(),
        NEW.verifier.vkey(),
    )
    await changing.close()

    for _ in range(2):  # a restart in the overlap; what one alone of the verifiers knows is enough
        again = sealing_of(database, folder, OLD, NEW, EVENTS, system)
        await again.rounds(2)
        note = (again.folder / "seal" / "checkpoint").read_bytes()
        for key in (OLD, NEW):
            open_checkpoint(note, key.verifier)
        assert again.outlet.recorded == []
        await again.close()

    after = sealing_of(database, folder, NEW, None, EVENTS, system)
    await after.rounds(2)
    size = after.memory.seals.size
    assert (size, signers(after)) == (12, ["new"])
    assert after.alerts == []
    ranges = key_ranges(after.folder / "seal")
    assert ranges == [
        {"vkey": OLD.verifier.vkey(), "first_size": 1, "last_size": size - 2},
        {"vkey": NEW.verifier.vkey(), "first_size": covering + 1, "last_size": None},
    ]
    await after.close()


async def test_where_nothing_happens_the_change_is_sealed_by_both_at_once_and_once(database, tmp_path):
    """The next heartbeat may be minutes away, and whoever waits for the second key would wait so long."""
    keys = Keys(OLD, NEW)
    system = ChainRows(chain_no=2, topic="audit.system", topic_id=b"s" * 16, seed=2)
    system.own_event(id=change_id(keys, ORIGIN), source="piperoll/sealer")
    await fill(database.admin_dsn, [EVENTS, system])
    folder = tmp_path / "sealer"
    folder.mkdir()
    named = {"key": OLD.private(), "next_key": NEW.private(), "connect": silent_of(EVENTS, system)}
    sealing = Sealing(database.sealer_dsn, folder, **named)
    await sealing.rounds()
    assert (sealing.memory.seals.size, signers(sealing)) == (1, ["old"])
    await sealing.rounds()
    assert (sealing.memory.seals.size, signers(sealing)) == (2, ["old", "new"])
    assert signers(sealing, chain_path()) == ["old", "new"]
    await sealing.rounds(3)
    assert sealing.memory.seals.size == 2
    assert [item["first_size"] for item in key_ranges(sealing.folder / "seal")] == [1, 2]
    await sealing.close()
    again = Sealing(database.sealer_dsn, folder, **named)
    await again.rounds()
    assert (again.memory.seals.size, signers(again)) == (2, ["old", "new"])
    assert again.outlet.recorded == []
    await again.close()


@pytest.mark.parametrize("lost", [(), ("memory.json",), ("memory.json", "published")])
async def test_another_key_without_the_change_is_refused(database, tmp_path, lost):
    await fill(database.admin_dsn, [EVENTS])
    first = sealing_of(database, tmp_path / "sealer", OLD)
    await first.rounds(2)
    await first.close()
    for name in lost:
        (tmp_path / "sealer" / name).rename(tmp_path / name)
    other = sealing_of(database, tmp_path / "sealer", NEW)
    with pytest.raises(ConfigurationError, match="seal rotate"):
        await other.rounds()
    await other.close()


async def test_the_next_key_alone_is_refused_before_the_change_is_sealed(database, tmp_path):
    await fill(database.admin_dsn, [EVENTS])
    first = sealing_of(database, tmp_path / "sealer", OLD, NEW)
    await first.rounds(2)
    assert signers(first) == ["old"]
    await first.close()
    early = sealing_of(database, tmp_path / "sealer", NEW)
    with pytest.raises(ConfigurationError, match="seal rotate"):
        await early.rounds()
    await early.close()


async def test_the_same_key_twice_is_no_change(database, tmp_path):
    await fill(database.admin_dsn, [EVENTS])
    sealing = sealing_of(database, tmp_path / "sealer", OLD, OLD)
    await sealing.rounds(2)
    assert sealing.keys.following is None
    assert (sealing.outlet.recorded, signers(sealing)) == ([], ["old"])
    await sealing.close()


def test_a_key_that_comes_back_begins_a_new_range():
    one = extended([], ["a"], 1)
    both = extended(one, ["a", "b"], 4)
    alone = extended(both, ["b"], 6)
    assert extended(alone, ["a"], 9) == [
        {"vkey": "a", "first_size": 1, "last_size": 5},
        {"vkey": "b", "first_size": 4, "last_size": 8},
        {"vkey": "a", "first_size": 9, "last_size": None},
    ]
