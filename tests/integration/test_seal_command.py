"""`piperoll seal`: what it says of a sealed database, and the whole way of a key from file to file."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

from schemas.tlog.note import Signer, Verifier
from schemas.tlog.policy import parse_policy
from services.cli.seal import seal, status_lines, summarised
from tests.audit_tables import fill
from tests.chain_rows import ChainRows
from tests.sealing import Sealing, silent_of
from tests.standins.witness import StandInWitness

EVENTS = ChainRows().events(40)


@pytest.fixture
def run(database, tmp_path, monkeypatch):
    """`piperoll seal …` as a user of this database and folder would run it."""
    variables = {
        "DATABASE_URL": database.reporter_dsn,
        "SEALER_DIR": str(tmp_path / "sealer"),
        "SEALER_ORIGIN": "example.com/test",
        "PIPEROLL_HOME": str(tmp_path / "home"),
    }
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments, status=0):
        result = CliRunner().invoke(seal, [*arguments], catch_exceptions=False)
        assert result.exit_code == status, result.output
        return result

    return invoke


def sealing_of(database, tmp_path, *chains):
    return Sealing(
        database.sealer_dsn,
        tmp_path / "sealer",
        connect=silent_of(*(chains or (EVENTS,))),
        heartbeat_s=0.000001,
    )


async def test_status_counts_what_is_sealed_and_what_waits(database, tmp_path, run):
    await fill(database.admin_dsn, [EVENTS])
    found = json.loads((await asyncio.to_thread(run, "status", "--json", status=1)).stdout)
    assert (found["last_seal"], found["late"]) == (None, True)
    sealing = sealing_of(database, tmp_path)
    await sealing.rounds(2)
    await sealing.close()
    found = json.loads((await asyncio.to_thread(run, "status", "--json")).stdout)
    assert (found["last_seal"]["no"], found["late"]) == (1, False)
    (chain,) = found["chains"]
    assert (chain["records"], chain["sealed"], chain["compared"], chain["waiting"]) == (41, 41, 41, 0)
    lines = (await asyncio.to_thread(run, "status")).stdout
    assert "41 sealed, 0 waiting" in lines
    assert "no target outside" in lines


def test_an_old_seal_is_late_and_targets_are_told():
    last = {"seal_no": 8, "sealed_us": 0}
    chain = {"chain_no": 1, "topic": "t", "partition": 0, "records": 9, "sealed": 7, "compared": 5}
    target = {"target": "s3", "size": 6, "published_us": 0}
    found = summarised(last, [chain], [target], now_us=700_000_000, heartbeat_s=600)
    assert found["late"]
    text = "\n".join(status_lines(found))
    assert "LATE" in text
    assert "7 sealed, 2 waiting, 2 sealed without comparing" in text
    assert "s3: has 6 seals" in text
    assert not summarised(last, [chain], [], now_us=600_000_000, heartbeat_s=600)["late"]


async def test_a_key_is_changed_from_file_to_file(database, tmp_path, run):
    await fill(database.admin_dsn, [EVENTS])
    assert "cannot be read" in (await asyncio.to_thread(run, "key", status=2)).stderr
    first = sealing_of(database, tmp_path)
    await first.rounds()
    await first.close()
    old = run("key").stdout.strip()
    assert Verifier.from_vkey(old) == first.key.verifier
    assert "begin with" in run("rotate", "--finish", status=2).stderr
    new = run("rotate").stdout.strip()
    assert run("rotate").stdout.strip() == new
    assert oct((tmp_path / "sealer" / "key.next").stat().st_mode & 0o777) == "0o600"
    assert "does not sign yet" in run("rotate", "--finish", status=2).stderr

    changing = sealing_of(database, tmp_path)
    await changing.rounds()
    event = json.loads(changing.outlet.recorded[0])
    await changing.close()
    assert "does not sign yet" in run("rotate", "--finish", status=2).stderr
    system = ChainRows(chain_no=2, topic="audit.system", topic_id=b"s" * 16, seed=2)
    system.own_event(id=event["id"], source=event["source"])
    await fill(database.admin_dsn, [system])
    both = sealing_of(database, tmp_path, EVENTS, system)
    await both.rounds(2)
    await both.close()
    assert run("key").stdout.split() == [old, new]
    said = json.loads(run("rotate", "--finish", "--json").stdout)
    assert said["vkey"] == new
    after = sealing_of(database, tmp_path, EVENTS, system)
    await after.rounds()
    await after.close()
    assert run("key").stdout.split() == [new]
    assert after.alerts == []


async def test_a_policy_that_verifiers_can_read(database, tmp_path, run, monkeypatch):
    await fill(database.admin_dsn, [EVENTS])
    sealing = sealing_of(database, tmp_path)
    await sealing.rounds()
    await sealing.close()
    policy = parse_policy(run("policy").stdout.encode())
    assert (policy.logs, policy.quorum) == ([sealing.key.verifier], "none")
    witness = StandInWitness("w.example")
    monkeypatch.setenv("WITNESS_URL", "https://w.example/")
    monkeypatch.setenv("WITNESS_VKEY", witness.vkey)
    policy = parse_policy(run("policy").stdout.encode())
    assert (policy.quorum, policy.witnesses) == ("w.example", {"w.example": witness.signer.verifier})


def test_a_new_key_is_a_private_one(run):
    made = json.loads(run("new-key", "--json").stdout)
    assert Signer.from_private(made["private_key"]).verifier.vkey() == made["vkey"]
    assert made["vkey"].startswith("example.com/test/seal+")


def test_a_key_in_the_environment_is_changed_there(run, monkeypatch):
    monkeypatch.setenv("SEALER_KEY", run("new-key").stdout.strip())
    assert "SEALER_NEXT_KEY" in run("rotate", status=2).stderr
