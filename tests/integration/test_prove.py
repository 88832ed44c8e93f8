"""`piperoll prove` on a real database: what it hands out is proved offline, and what cannot be proved is said."""

import json
import subprocess
import sys

import asyncpg
import pytest

from deploy.local.postgres import run_async
from schemas.enrichment import clean
from schemas.proof_file import decode_proof_file
from schemas.tlog.merkle import leaf_hash
from services.common.proofs import Name, Offset, Place, State, read_wanted
from services.reporter.prove import prove_one
from tests.audit_tables import fill, tamper
from tests.chain_rows import ChainRows
from tests.sealed_log import WITNESSES, SealedLog, store_seals
from tests.service_process import ROOT
from tests.unit.test_standalone_verifier import standalone


async def sealed(database, *, seals=3, events=300, witnesses=()):
    """Two chains, sealed while they grow; the first has more than a tile in each step."""
    one, other = ChainRows(chain_no=1, seed=1), ChainRows(chain_no=2, partition=1, seed=2)
    log = SealedLog(one, other, witnesses=witnesses)
    for _ in range(seals):
        one.events(events)
        other.events(1)
        log.seal()
    await fill(database.admin_dsn, log.chains)
    await store_seals(database.sealer_dsn, log)
    return log


async def prove(database, chain_no, seq, **options):
    return await prove_one(database.reporter_dsn, Place(chain_no, seq), **options)


async def test_any_sealed_record_is_proved_and_the_stand_alone_verifier_agrees(database):
    log = await sealed(database)
    for chain in log.chains:
        last = len(chain.rows) - 1
        for seq in sorted({0, 1, 255, 256, 300, 301, 511, 512, 767, 768, last} & set(range(last + 1))):
            proof = await prove(database, chain.chain_no, seq)
            assert proof.state is State.PROVED
            found = standalone.check(proof.file, log.policy())
            assert (found["chain_id"], found["seq"]) == (chain.chain_id.hex(), seq)
            assert (found["payload"], bool(found["enrichment"])) == ("as recorded", chain.rows[seq].kind == 1)


async def test_records_under_seals_of_more_than_a_tile_are_proved(database):
    log = await sealed(database, seals=270, events=1)
    for seq in (0, 100, 256, 269):
        proof = await prove(database, 1, seq)
        assert standalone.check(proof.file, log.policy())["seal"] == max(0, seq - 1)


async def test_a_proof_without_content_shows_only_that_the_record_exists(database):
    log = await sealed(database)
    proof = await prove(database, 1, 7, content=False)
    made = decode_proof_file(proof.file)
    assert (made.payload, made.enrichment) == (None, None)
    assert standalone.check(proof.file, log.policy())["seq"] == 7
    await tamper(database.admin_dsn, "DELETE FROM audit.payload WHERE chain_no = 1 AND seq = 7")
    erased = await prove(database, 1, 7)
    assert erased.file == proof.file


async def test_cosignatures_that_came_back_are_in_the_proof(database):
    log = await sealed(database)
    *_, middle, _newest = [item for item in log.checkpoints if item.tree == 0]
    text = middle.note.decode().rpartition("\n\n")[0] + "\n"
    rows = [
        ("witness w1", middle.size, 1, WITNESSES[0].cosign(text, 1_800_000_000).line().encode()),
        ("timestamp", middle.size, 2, b"\x30\x82 a token"),
        ("witness w2", middle.size, 3, WITNESSES[1].cosign(text, 1_800_000_001).line().encode()),
        ("directory", middle.size + 1, 4, None),
    ]
    connection = await asyncpg.connect(database.sealer_dsn)
    await connection.executemany(
        "INSERT INTO audit.publication (target, size, published_us, receipt) VALUES ($1, $2, $3, $4)", rows
    )
    await connection.close()
    proof = await prove(database, 1, 7)
    assert set(standalone.check(proof.file, log.policy("both"))["cosigned"]) == {"W1", "W2"}
    newer = await prove(database, 1, 900)  # its seal is the last, which no witness has seen
    assert standalone.check(newer.file, log.policy())["cosigned"] == {}


async def test_an_event_is_found_by_source_and_id(database):
    log = await sealed(database)
    long, unsealed = "x" * 3000, ChainRows(chain_no=3, partition=7, seed=9)
    unsealed.event(source=long, id="1", shown_source=clean(long))
    unsealed.event(source="app/twice", id="1")
    unsealed.event(source="app/twice", id="1")
    await fill(database.admin_dsn, [unsealed])
    found = await prove_one(database.reporter_dsn, Name("app/shop", "1-41"))
    assert standalone.check(found.file, log.policy())["source_offset"] == 41
    assert (await prove_one(database.reporter_dsn, Name("app/shop", "1-99999"))).state is State.ABSENT
    assert (await prove_one(database.reporter_dsn, Name(long, "1"))).state is State.NOT_SEALED
    twice = await prove_one(database.reporter_dsn, Name("app/twice", "1"))
    assert (twice.state, str(Place(3, 2).number) in twice.text) == (State.AMBIGUOUS, True)


async def test_a_record_is_found_by_its_offset_in_kafka(database):
    log = await sealed(database)
    chain = log.chains[0]
    wanted = Offset(chain.topic_id, 0, 41)
    found = await prove_one(database.reporter_dsn, wanted)
    assert standalone.check(found.file, log.policy())["source_offset"] == 41
    assert read_wanted(str(wanted)) == wanted
    elsewhere = await prove_one(database.reporter_dsn, wanted._replace(topic_id=bytes(16)))
    assert (elsewhere.state, "has the writer come to it yet?" in elsewhere.text) == (State.ABSENT, True)


@pytest.mark.parametrize(
    "text", ["", "-1", "1e3", "\u0667", "x:1:2", f"{'0' * 31}:1:2", f"{'0' * 32}:1", "9" * 20]
)
def test_what_is_no_id_is_not_taken_for_one(text):
    assert read_wanted(text) is None


async def test_what_is_not_there_or_not_sealed_yet_is_said(database):
    log = await sealed(database)
    assert (await prove(database, 1, 99_999)).state is State.ABSENT
    assert (await prove_one(database.reporter_dsn, Place.of(5))).state is State.ABSENT
    assert (await prove_one(database.reporter_dsn, Place.of(-1))).state is State.ABSENT
    assert (await prove_one(database.reporter_dsn, Place.of(2**70))).state is State.ABSENT
    last = len(log.chains[0].rows)
    sql = "DELETE FROM audit.checkpoint WHERE tree = 1 AND size = " + str(last)
    await tamper(database.admin_dsn, sql)
    early = await prove(database, 1, last - 1)
    assert (early.state, "covers 601 records" in early.text) == (State.NOT_SEALED, True)
    await tamper(database.admin_dsn, "DELETE FROM audit.checkpoint WHERE tree = 1")
    early = await prove(database, 1, 3)
    assert (early.state, "has not been sealed yet" in early.text) == (State.NOT_SEALED, True)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit.record SET leaf = overlay(leaf PLACING '\\x07'::bytea FROM 100) WHERE chain_no = 1 AND seq = 7",
        "UPDATE audit.tile SET hashes = overlay(hashes PLACING '\\x07'::bytea FROM 300) WHERE tree = 1 AND level = 0",
        "UPDATE audit.tile SET root = sha256(root) WHERE tree = 1",
        "DELETE FROM audit.tile WHERE tree = 1",
        "DELETE FROM audit.seal WHERE seal_no = 0",
        "UPDATE audit.seal SET leaf = overlay(leaf PLACING '\\x07'::bytea FROM 60) WHERE seal_no = 0",
        "UPDATE audit.checkpoint SET root = sha256(root) WHERE tree = 1",
        "UPDATE audit.checkpoint SET root = sha256(root) WHERE tree = 0",
        "DELETE FROM audit.checkpoint WHERE tree = 0",
    ],
)
async def test_no_proof_is_handed_out_that_does_not_hold(database, sql):
    log = await sealed(database)
    await tamper(database.admin_dsn, sql)
    proofs = [await prove(database, 1, seq) for seq in (7, 300)]
    assert State.BROKEN in [proof.state for proof in proofs]
    for proof in proofs:
        assert (proof.state is State.PROVED) == (proof.file != b"")
        if proof.file:  # made without what was changed
            assert standalone.check(proof.file, log.policy())


def piperoll(database, *arguments):
    command = [sys.executable, "-m", "services.cli", "prove", "--no-record", *arguments]
    environment = {"DATABASE_URL": database.reporter_dsn, "PATH": "", "PIPEROLL_HOME": "/nonexistent"}
    return subprocess.run(command, capture_output=True, check=False, env=environment, cwd=ROOT)


def test_the_command_writes_a_proof_that_the_program_accepts(database, tmp_path):
    log = run_async(sealed(database))
    number = str(Place(1, 7).number)
    done = piperoll(database, number, "--out", str(tmp_path / "event.piperoll-proof"), "--json")
    assert (done.returncode, json.loads(done.stdout)["state"]) == (0, "proved")
    (tmp_path / "policy").write_bytes(log.policy())
    program = ROOT / "schemas" / "standalone" / "piperoll_verify.py"
    command = [
        sys.executable,
        "-I",
        program,
        tmp_path / "event.piperoll-proof",
        "--policy",
        tmp_path / "policy",
    ]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    by_name = piperoll(database, "--source", "app/shop", "--event-id", "1-6")
    assert by_name.stdout == (tmp_path / "event.piperoll-proof").read_bytes()
    assert leaf_hash(decode_proof_file(by_name.stdout).leaf) == log.chains[0].rows[7].record_hash


def test_the_command_ends_with_2_for_what_it_cannot_prove_and_1_for_what_was_changed(database):
    run_async(sealed(database))
    for arguments, text in (
        (["77"], b"is not the id"),
        (["x"], b"is no ID"),
        ([str(Place(1, 10**6).number)], b"no record"),
        ([], b"name one record"),
        (["7", "--source", "x", "--event-id", "y"], b"name one record"),
        (["7", "--json"], b"--out"),
    ):
        done = piperoll(database, *arguments)
        assert (done.returncode, text in done.stderr) == (2, True), done.stderr
    run_async(tamper(database.admin_dsn, "UPDATE audit.checkpoint SET root = sha256(root) WHERE tree = 1"))
    done = piperoll(database, str(Place(1, 7).number))
    assert (done.returncode, b"not as it was sealed" in done.stderr) == (1, True)
