"""The sealer with targets outside: it seals on whatever they do, and keeps what they give back."""

import asyncio
import time

import asyncpg
import pytest

from schemas.tlog.checkpoint import open_checkpoint
from schemas.tlog.cosignature import CosignatureVerifier
from services.writer.sealer.targets import courier
from services.writer.sealer.targets.build import build_targets
from services.writer.sealer.targets.courier import Desk
from services.writer.sealer.targets.settings import TargetSettings
from tests.audit_tables import fill
from tests.chain_rows import ChainRows
from tests.seal_log import until
from tests.sealing import Sealing, Silent, send, silent_of
from tests.standins.timestamp_authority import StandInAuthority
from tests.standins.witness import StandInWitness


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(courier, "FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(courier, "LONGEST_PAUSE_S", 0.1)


CHAIN = ChainRows().events(5)


def sealing_of(database, folder, *, alarm_s=0.2, **targets):
    """A sealer that seals in every round, with targets."""
    sealing = Sealing(database.sealer_dsn, folder, connect=silent_of(CHAIN), heartbeat_s=0.000001)
    outlet = sealing.outlet
    desk = Desk(outlet.say, outlet.keep, outlet._metrics, alarm_s, 1.0)
    outlet.targets += build_targets(
        TargetSettings(timeout_s=0.5, witness_interval_s=0, **targets), sealing.folder / "seal", desk
    )
    return sealing


async def publications(database):
    connection = await asyncpg.connect(database.reporter_dsn)
    rows = await connection.fetch(
        "SELECT target, size, published_us, receipt FROM audit.publication ORDER BY number"
    )
    await connection.close()
    return rows


async def test_receipts_of_witness_and_authority_are_kept_beside_the_seals(database, tmp_path):
    await fill(database.admin_dsn, [CHAIN])
    with StandInAuthority(tmp_path / "tsa") as authority, StandInWitness("w.example") as witness:
        sealing = sealing_of(
            database,
            tmp_path / "sealer",
            witness_url=witness.url,
            witness_vkey=witness.vkey,
            tsa_url=authority.url,
            tsa_certificate=authority.root,
        )
        witness.logs = [sealing.key.verifier]
        await sealing.rounds()
        await until(lambda: len(sealing.outlet._receipts) == 2)
        await sealing.rounds()
        rows = await publications(database)
        assert {row["target"] for row in rows} == {"witness w.example", "timestamp"}
        assert {row["size"] for row in rows} == {1}
        await until(lambda: witness.seen.size == 2)
        await sealing.close()
    note = (sealing.folder / "seal" / "checkpoint.cosigned").read_bytes()
    key = CosignatureVerifier.from_vkey(witness.vkey)
    opened = open_checkpoint(note, sealing.key.verifier, [key])
    assert "w.example" in {item.name for item in opened.note.verified}
    line = next(row["receipt"] for row in rows if row["target"].startswith("witness"))
    assert line.startswith("\u2014 w.example ".encode())


FAULTS = ["away", "slow", "lying", "dumb"]


@pytest.mark.parametrize("mode", FAULTS)
async def test_the_sealer_seals_on_whatever_a_witness_does_and_says_so_once(database, tmp_path, mode):
    await fill(database.admin_dsn, [CHAIN])
    with StandInWitness("w.example", mode=mode) as witness:
        sealing = sealing_of(
            database, tmp_path / "sealer", witness_url=witness.url, witness_vkey=witness.vkey
        )
        witness.logs = [sealing.key.verifier]
        slowest = 0.0
        for number in range(12):
            started = time.monotonic()
            await sealing.rounds()
            slowest = max(slowest, time.monotonic() - started) if number else 0.0
            await asyncio.sleep(0.15)
        assert sealing.memory.seals.size == 12
        assert slowest < 0.5, "a round waited for the witness"
        assert sealing.alerts == ["target"]
        assert await publications(database) == []
        witness.mode = "good"
        await until(lambda: sealing.outlet._receipts)
        await sealing.rounds()
        assert (await publications(database))[-1]["size"] == 12
        await sealing.close()


async def test_a_database_that_was_away_gets_the_receipts_later(database, tmp_path):
    await fill(database.admin_dsn, [CHAIN])
    with StandInWitness("w.example") as witness:
        sealing = sealing_of(
            database, tmp_path / "sealer", witness_url=witness.url, witness_vkey=witness.vkey
        )
        witness.logs = [sealing.key.verifier]
        await sealing.rounds()
        await until(lambda: sealing.outlet._receipts)
        await sealing.sealer._store.close()
        with pytest.raises(Exception, match="not connected"):
            await sealing.rounds()
        assert sealing.outlet._receipts
        assert await sealing.sealer._connected()
        await sealing.rounds()
        assert [row["size"] for row in await publications(database)] == [1]
        await sealing.close()


async def test_a_new_start_offers_what_was_sealed_last(database, tmp_path):
    await fill(database.admin_dsn, [CHAIN])
    first = sealing_of(database, tmp_path / "sealer")
    await first.rounds(3)
    await first.close()
    with StandInWitness("w.example", first.key.verifier) as witness:
        again = sealing_of(database, tmp_path / "sealer", witness_url=witness.url, witness_vkey=witness.vkey)
        await again.rounds(0)
        await until(lambda: witness.seen is not None)
        assert witness.seen.size == 3
        await again.close()


async def test_the_service_has_its_seals_cosigned(kafka, database, start_service, tmp_path):
    """As a process, with its settings from the environment."""
    start_service("enricher").wait_ready()
    start_service("writer").wait_ready()
    folder = tmp_path / "sealer"
    key = Sealing(database.sealer_dsn, folder, connect=Silent(None), origin="example.com/test").key
    with StandInWitness("w.example", key.verifier) as witness:
        sealer = start_service(
            "writer",
            "sealer",
            SEALER_DIR=str(folder),
            SEALER_ORIGIN="example.com/test",
            SEALER_INTERVAL_S="0.1",
            DATABASE_URL=database.sealer_dsn,
            WITNESS_URL=witness.url,
            WITNESS_VKEY=witness.vkey,
        ).wait_ready()
        await asyncio.to_thread(send, kafka, 50)
        path = folder / "published" / "seal" / "checkpoint.cosigned"
        await until(path.exists, 30)
        connection = await asyncpg.connect(database.reporter_dsn)
        for _ in range(300):
            if await connection.fetchval(
                "SELECT count(*) FROM audit.publication WHERE target = 'witness w.example'"
            ):
                break
            await asyncio.sleep(0.1)
        assert await connection.fetchval("SELECT count(*) FROM audit.publication WHERE receipt IS NOT NULL")
        await connection.close()
        assert sealer.stop() == 0
