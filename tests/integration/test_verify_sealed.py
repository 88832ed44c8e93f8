"""`piperoll verify` against signed checkpoints: whoever owns the whole database is found by one old checkpoint."""

import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from random import Random

import pytest

from schemas.tlog.cosignature import CosignatureSigner
from schemas.tlog.note import new_key, split_note
from schemas.verification import sweep
from schemas.verification.findings import Change, Part
from services.common.errors import ConfigurationError
from services.reporter import store, verify
from services.reporter.account import as_json, as_lines
from services.reporter.evidence import read_evidence, read_policy
from services.reporter.integrity import CONSISTENT, OWN_CHECKPOINTS, assurance
from services.reporter.verify import verify_database
from tests.audit_tables import fill, tamper
from tests.chain_rows import ChainRows
from tests.rewriting import ATTACKS, Attacked, attack, overwrite
from tests.sealing import Sealing, silent_of


def chains():
    one = ChainRows(chain_no=1).events(70)
    return [one, ChainRows(chain_no=2, partition=1, seed=2).events(30), ChainRows(3, "audit.system", seed=3)]


async def sealed(database, tmp_path, made, **settings):
    """A database with these chains, sealed; the sealer."""
    await fill(database.admin_dsn, made)
    sealing = Sealing(database.sealer_dsn, tmp_path / "sealer", connect=silent_of(*made), **settings)
    await sealing.rounds()
    return sealing


def evidence_of(sealing, *places):
    policy = read_policy([sealing.verifier.vkey()], None)
    return read_evidence([str(place) for place in places or (sealing.folder,)], policy)


async def verified(database, evidence, **arguments):
    return await verify_database(database.reporter_dsn, evidence=evidence, **arguments)


def said(verification):
    return [(item.chain_no, item.change, item.seq) for item in verification.findings]


async def test_what_was_sealed_is_good_and_says_what_that_proves(database, tmp_path):
    made = chains()
    sealing = await sealed(database, tmp_path, made)
    verification = await verified(database, evidence_of(sealing))
    assert verification.findings == []
    assert assurance(verification)[0] == OWN_CHECKPOINTS
    assert "covers every record" in "\n".join(as_lines(verification))
    told = as_json(verification)["checkpoints"]
    assert (told["seals"], told["unsealed_records"]) == (1, 0)
    alone = await verify_database(database.reporter_dsn)
    assert assurance(alone)[0] == CONSISTENT
    await sealing.close()


@pytest.mark.parametrize("name", ATTACKS)
async def test_a_superuser_who_rewrites_a_whole_chain_is_found_by_one_checkpoint(database, tmp_path, name):
    """By the folder: what was done and where. By the checkpoint alone: in which records."""
    made = chains()
    sealing = await sealed(database, tmp_path, made)
    done = attack(made[0], name, Random(name))
    await overwrite(database.admin_dsn, made[0], done)
    told = said(await verified(database, evidence_of(sealing)))
    assert (1, done.change, done.seq) in told
    assert {chain_no for chain_no, _, _ in told} <= {0, 1}
    alone = tmp_path / "checkpoint"
    shutil.copy(sealing.folder / "seal" / "checkpoint", alone)
    told = said(await verified(database, evidence_of(sealing, alone)))
    assert any(chain_no == 1 for chain_no, _, _ in told)
    await sealing.close()


@pytest.mark.parametrize("name", ["edited payload", "cut off", "set back and gone on"])
async def test_without_a_checkpoint_the_same_is_not_seen(database, tmp_path, name):
    """So that nobody thinks that a chain in a database proves more than it does."""
    made = chains()
    sealing = await sealed(database, tmp_path, made)
    await overwrite(database.admin_dsn, made[0], attack(made[0], name, Random(name)))
    assert (await verify_database(database.reporter_dsn)).good
    await sealing.close()


async def test_a_whole_chain_gone_is_found(database, tmp_path):
    made = chains()
    sealing = await sealed(database, tmp_path, made)
    await tamper(
        database.admin_dsn,
        "DELETE FROM audit.record WHERE chain_no = 2; DELETE FROM audit.payload WHERE chain_no = 2;"
        " DELETE FROM audit.chain_head WHERE chain_no = 2; DELETE FROM audit.chain WHERE chain_no = 2",
    )
    assert (await verify_database(database.reporter_dsn)).good
    verification = await verified(database, evidence_of(sealing))
    assert [(item.change, item.part) for item in verification.findings] == [(Change.CHAIN_GONE, Part.CHAIN)]
    assert made[1].chain_id.hex() in verification.findings[0].detail
    await sealing.close()


SET_BACK = """
DELETE FROM audit.record WHERE chain_no = 1 AND seq > 70; DELETE FROM audit.payload WHERE chain_no = 1 AND seq > 70;
UPDATE audit.chain_head SET next_seq = 71, next_source_offset = 70,
    last_hash = (SELECT record_hash FROM audit.record WHERE chain_no = 1 AND seq = 70) WHERE chain_no = 1;
DELETE FROM audit.seal WHERE seal_no > 0; DELETE FROM audit.checkpoint WHERE seal_no > 0
"""


async def test_a_database_of_an_older_state_is_found_and_named(database, tmp_path):
    """A backup or a point in time: records and seals end where they ended then."""
    made = chains()
    sealing = await sealed(database, tmp_path, made)
    more = ChainRows(chain_no=1).events(90)
    await overwrite(database.admin_dsn, more, attack_of(more))
    sealing.sealer._source = silent_of(more, made[1])
    await sealing.rounds()
    assert (await verified(database, evidence_of(sealing))).good
    await tamper(database.admin_dsn, SET_BACK)
    assert (await verify_database(database.reporter_dsn)).good
    told = said(await verified(database, evidence_of(sealing)))
    assert told == [(0, Change.ROLLED_BACK, None), (1, Change.TRUNCATED, 71)]
    await sealing.close()


def attack_of(chain):
    """No attack at all: the chain as it is, for `overwrite`."""
    return Attacked(chain.rows, chain.contents, chain.head, Change.EDITED, 0)


async def test_seals_that_were_changed_or_taken_away_in_the_database_are_found(database, tmp_path):
    """With the folder the rest is still verified; without it nothing is green."""
    made = chains()
    sealing = await sealed(database, tmp_path, made)
    alone = tmp_path / "checkpoint"
    shutil.copy(sealing.folder / "seal" / "checkpoint", alone)
    await tamper(
        database.admin_dsn,
        "UPDATE audit.seal SET leaf = substr(leaf, 1, 60) || '\\x00'::bytea || substr(leaf, 62)",
    )
    verification = await verified(database, evidence_of(sealing))
    assert [(item.change, item.part) for item in verification.findings] == [(Change.EDITED, Part.SEAL)]
    assert not (await verified(database, evidence_of(sealing, alone))).good
    await tamper(database.admin_dsn, "DELETE FROM audit.seal")
    assert (await verified(database, evidence_of(sealing))).good
    found = (await verified(database, evidence_of(sealing, alone))).findings
    assert [item.change for item in found] == [Change.ROLLED_BACK]
    await sealing.close()


async def test_a_stolen_key_does_not_hide_a_second_history_from_an_old_copy(database, tmp_path):
    """The thief rewrites the database, the folder and the memory, and signs anew: the copy kept elsewhere contradicts."""
    made = chains()
    sealing = await sealed(database, tmp_path, made)
    copy = tmp_path / "copy"
    shutil.copytree(sealing.folder, copy)
    await sealing.close()
    done = attack(made[0], "edited payload", Random(1))
    await overwrite(database.admin_dsn, made[0], done)
    await tamper(
        database.admin_dsn, "DELETE FROM audit.seal; DELETE FROM audit.checkpoint; DELETE FROM audit.tile"
    )
    shutil.rmtree(sealing.folder)
    (tmp_path / "sealer" / "memory.json").unlink()
    forged = ChainRows(chain_no=1)
    forged.rows, forged.contents = done.rows, done.contents
    thief = Sealing(database.sealer_dsn, tmp_path / "sealer", connect=silent_of(forged, *made[1:]))
    await thief.rounds()
    assert (await verified(database, evidence_of(thief))).good
    both = await verified(database, evidence_of(thief, thief.folder, copy))
    assert Change.FORKED in {item.change for item in both.findings}
    old = said(await verified(database, evidence_of(thief, copy)))
    assert (1, Change.EDITED, done.seq) in old
    await thief.close()


async def test_checkpoints_of_another_key_or_of_nobody_are_not_believed(database, tmp_path):
    sealing = await sealed(database, tmp_path, chains())
    stranger = new_key(sealing.verifier.name)
    with pytest.raises(ConfigurationError, match="not signed by a trusted key"):
        read_evidence([str(sealing.folder)], read_policy([stranger.verifier.vkey()], None))
    with pytest.raises(ConfigurationError, match="--vkey or --policy"):
        read_evidence([str(sealing.folder)], read_policy([], None))
    with pytest.raises(ConfigurationError, match="no seal/checkpoint"):
        evidence_of(sealing, tmp_path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        evidence_of(sealing, tmp_path / "nothing")
    vkey = sealing.verifier.vkey()
    assert read_evidence([str(sealing.folder)], read_policy([f"{vkey}@1-5"], None)).anchors
    for sizes in ("2-", "-0", "7-9"):
        with pytest.raises(ConfigurationError, match="not good for size 1"):
            read_evidence([str(sealing.folder)], read_policy([f"{vkey}@{sizes}"], None))
    with pytest.raises(ConfigurationError, match="policy or key"):
        read_policy(["nonsense"], None)
    await sealing.close()


async def test_records_that_wait_too_long_for_a_seal_are_late(database, tmp_path):
    """Sealing has stopped: what came since is told, and not green."""
    sealing = await sealed(database, tmp_path, chains())
    await fill(database.admin_dsn, [ChainRows(chain_no=4, partition=2, seed=4).events(5)])
    verification = await verified(database, evidence_of(sealing))
    assert [item.change for item in verification.findings] == [Change.LATE]
    assert "6 records are not sealed" in verification.findings[0].detail
    await sealing.close()


async def test_a_witness_is_named_in_what_is_proved(database, tmp_path):
    sealing = await sealed(database, tmp_path, chains())
    note = (sealing.folder / "seal" / "checkpoint").read_bytes()
    witness = CosignatureSigner("witness.example", bytes(range(32)))
    text, _ = split_note(note)
    cosigned = tmp_path / "cosigned"
    cosigned.write_bytes(note + witness.cosign(text, 1_800_000_000).line().encode())
    policy = tmp_path / "policy"
    policy.write_text(f"log {sealing.verifier.vkey()}\nwitness W {witness.verifier.vkey()}\nquorum W\n")
    evidence = read_evidence([str(cosigned)], read_policy([], policy))
    proved = assurance(await verified(database, evidence))[0]
    assert proved.startswith("Changes to records sealed up to ")
    assert proved.endswith(" would be found against copies held by W.")
    plain = read_evidence([str(sealing.folder)], read_policy([], policy))
    assert assurance(await verified(database, plain))[0] == OWN_CHECKPOINTS
    shutil.copy(cosigned, sealing.folder / "seal" / "checkpoint.cosigned")
    both = read_evidence([str(sealing.folder)], read_policy([], policy))
    assert assurance(await verified(database, both))[0] == proved
    await sealing.close()


async def test_a_published_folder_is_read_over_http_too(database, tmp_path):
    made = chains()
    sealing = await sealed(database, tmp_path, made)
    handler = partial(SimpleHTTPRequestHandler, directory=str(sealing.folder))
    handler.log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            assert (await verified(database, evidence_of(sealing, url))).good
            done = attack(made[0], "edited payload", Random(9))
            await overwrite(database.admin_dsn, made[0], done)
            assert said(await verified(database, evidence_of(sealing, url))) == [(1, Change.EDITED, done.seq)]
        finally:
            server.shutdown()
            thread.join()
    await sealing.close()


async def test_since_a_trusted_checkpoint_only_what_came_after_is_read(database, tmp_path, monkeypatch):
    """Full ranges that it covers are passed over; a change in them is seen no more, one behind them is."""
    monkeypatch.setattr(verify, "RANGE", 256)
    monkeypatch.setattr(verify, "TILE_RANGE", 256)
    monkeypatch.setattr(sweep, "RANGE", 256)
    monkeypatch.setitem(
        store.QUERIES,
        "range_hashes",
        "SELECT root FROM audit.tile WHERE tree = $1 AND level = 0 AND n < $2 ORDER BY n",
    )
    made = [ChainRows(chain_no=1).events(600)]
    sealing = await sealed(database, tmp_path, made)
    evidence = evidence_of(sealing)
    verification = await verified(database, evidence, since=1)
    assert (verification.findings, verification.passed_over, verification.records) == ([], 512, 89)
    assert "512 records before a trusted checkpoint not looked at again" in as_lines(verification)[0]
    await tamper(database.admin_dsn, "DELETE FROM audit.payload WHERE seq = 550")
    assert {item.seq for item in (await verified(database, evidence, since=1)).findings} == {550}
    await tamper(database.admin_dsn, "UPDATE audit.tile SET root = sha256('x') WHERE level = 0 AND n = 0")
    assert not (await verified(database, evidence, since=1)).good
    await sealing.close()
