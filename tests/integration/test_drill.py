"""The tamper drill: every attack on the shadow copy is found, named and placed; the database itself is only read."""

import json

import pytest

from deploy.local.postgres import execute
from services.cli.drill import as_json, as_lines
from services.common.errors import ConfigurationError
from services.reporter.drill import drill as module
from services.reporter.drill.attacks import ATTACKS, Attack
from services.reporter.drill.drill import CHAIN_GONE, run_drill
from services.reporter.drill.shadow import Shadow
from services.reporter.evidence import Evidence, read_evidence, read_policy
from services.reporter.verify import verify_database
from services.writer.migrate import migrate_async
from tests.audit_tables import fill, tamper
from tests.chain_rows import ChainRows
from tests.report_runs import by_hand
from tests.sealing import Sealing, silent_of


@pytest.fixture
async def shadow(postgres_server, database):
    """An empty, migrated database beside the real one."""
    name = f"shadow_{database.name}"
    execute(postgres_server, f"CREATE DATABASE {name}")
    dsn = postgres_server.rpartition("/")[0] + "/" + name
    await migrate_async(dsn, {})
    yield Shadow(dsn)
    execute(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


async def sealed(database, tmp_path, *chains):
    await fill(database.admin_dsn, chains)
    sealing = Sealing(database.sealer_dsn, tmp_path / "sealer", connect=silent_of(*chains))
    await sealing.rounds()
    await sealing.close()
    return read_evidence([str(sealing.folder)], read_policy([sealing.verifier.vkey()], None))


async def test_every_attack_is_found_named_and_placed_and_the_database_stays_as_it_was(
    database, shadow, tmp_path
):
    chains = [ChainRows(chain_no=1).events(40), ChainRows(chain_no=2, topic="audit.system", seed=2)]
    evidence = await sealed(database, tmp_path, *chains)
    await fill(
        database.admin_dsn, [ChainRows(chain_no=3, partition=1, seed=3).events(30)]
    )  # not sealed: not attacked
    drilled = await run_drill(database.reporter_dsn, shadow, evidence, seed=7, times=2)
    assert [outcome for outcome in drilled.outcomes if not outcome.passed] == []
    assert {outcome.attack for outcome in drilled.outcomes} == {*ATTACKS, CHAIN_GONE}
    assert (drilled.passed, drilled.records, drilled.chain.chain_no) == (True, 41, 1)
    told = as_json(drilled, 7)
    assert (told["attacks"], told["detected"], told["missed"]) == (
        2 * len(ATTACKS) + 1,
        2 * len(ATTACKS) + 1,
        [],
    )
    assert as_lines(drilled, 7)[-1].startswith("PASSED: ")
    found = (await verify_database(database.reporter_dsn, evidence=evidence)).findings
    assert [item.change for item in found] == ["late"]  # the chain that was left unsealed, and nothing else


async def test_a_verifier_that_misses_an_attack_fails_the_drill(database, shadow, tmp_path, monkeypatch):
    evidence = await sealed(database, tmp_path, ChainRows(chain_no=1).events(20))
    nothing = Attack(lambda pairs, _at, _random: pairs, ATTACKS["deleted"].change)
    monkeypatch.setitem(module.ATTACKS, "deleted", nothing)
    drilled = await run_drill(database.reporter_dsn, shadow, evidence, seed=1)
    assert not drilled.passed
    assert as_json(drilled, 1)["missed"] == ["deleted"]
    assert any(line.startswith("MISS deleted") for line in as_lines(drilled, 1))


async def test_a_copy_that_is_tampered_with_already_is_said_before_anything_else(database, shadow, tmp_path):
    evidence = await sealed(database, tmp_path, ChainRows(chain_no=1).events(20))
    await tamper(database.admin_dsn, "DELETE FROM audit.payload WHERE seq = 9")
    drilled = await run_drill(database.reporter_dsn, shadow, evidence, seed=1)
    assert (drilled.clean, drilled.passed, drilled.outcomes) == (False, False, [])
    assert "record 9" in as_lines(drilled, 1)[0]


async def test_without_checkpoints_or_sealed_events_there_is_nothing_to_drill(database, shadow, tmp_path):
    with pytest.raises(ConfigurationError, match="needs checkpoints"):
        await run_drill(database.reporter_dsn, shadow, Evidence(), seed=1)
    evidence = await sealed(database, tmp_path, ChainRows(chain_no=1))
    with pytest.raises(ConfigurationError, match="at least 8 sealed events"):
        await run_drill(database.reporter_dsn, shadow, evidence, seed=1)


async def test_a_report_says_how_the_last_drill_went(database, tmp_path):
    """And that there was none."""
    chain = ChainRows(topic="audit.system")
    await fill(database.admin_dsn, [chain])
    await by_hand(database.reporter_dsn, "2026-10", tmp_path / "none", ["md"])
    assert "No tamper drill is on record" in (tmp_path / "none" / "report.md").read_text()
    assert json.loads((tmp_path / "none" / "report.json").read_text())["drill"] is None
    other = ChainRows(chain_no=2, topic="audit.system", partition=1, seed=5)
    facts = {"passed": False, "attacks": 16, "detected": 15, "slowest_seconds": 0.4, "missed": ["deleted"]}
    other.own_event(type="piperoll.drill", source="piperoll/drill", data=facts, time="2026-10-02T00:00:00Z")
    await fill(database.admin_dsn, [other])
    await by_hand(database.reporter_dsn, "2026-10", tmp_path / "one", ["html"])
    text = (tmp_path / "one" / "report.html").read_text()
    assert '<span class="state bad"><span aria-hidden="true">✕</span> failed</span>' in text
    assert "15 of 16 attacks" in text
