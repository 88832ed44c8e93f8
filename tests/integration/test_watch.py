"""The reporter verifies by itself: how far and how long ago is a metric, what it finds an alert, said once."""

import asyncio
import json

import pytest
from prometheus_client import CollectorRegistry

from services.reporter.settings import VerifySettings
from services.reporter.watch import Watch, WatchMetrics
from tests.audit_tables import fill, tamper
from tests.chain_rows import ChainRows
from tests.sealing import Sealing, silent_of
from tests.writing import read_all


class Watching:
    """A watch in this process, run one verification at a time."""

    def __init__(self, kafka, dsn, **settings):
        self.registry = CollectorRegistry()
        self.watch = Watch(kafka, dsn, VerifySettings(**settings), WatchMetrics(self.registry))

    def value(self, name, **labels):
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
async def sealed(database, tmp_path):
    """A database whose one chain is sealed; the published folder."""
    chain = ChainRows().events(30)
    await fill(database.admin_dsn, [chain])
    sealing = Sealing(database.sealer_dsn, tmp_path / "sealer", connect=silent_of(chain))
    await sealing.rounds()
    await sealing.close()
    return sealing.folder


async def test_how_far_and_how_long_ago_is_told(kafka, database, sealed):
    watching = Watching(kafka, database.reporter_dsn, checkpoints=str(sealed))
    await watching.watch._verify()
    assert watching.value("piperoll_verified_seq", chain="1") == 31
    assert watching.value("piperoll_verified_findings") == 0
    assert watching.value("piperoll_verified_unsealed_records") == 0
    assert watching.value("piperoll_verified_timestamp_seconds") > 1_700_000_000
    assert watching.watch._announcer is None


async def test_what_it_finds_is_one_alert_however_often_it_finds_it(kafka, database, sealed):
    watching = Watching(kafka, database.reporter_dsn, checkpoints=str(sealed))
    await tamper(database.admin_dsn, "DELETE FROM audit.payload WHERE seq = 9")
    await watching.watch._verify()
    await watching.watch._verify()
    said = [json.loads(value) for value in await asyncio.to_thread(read_all, kafka, kafka.topics.alerts, 2)]
    assert {alert["name"] for alert in said} == {"verification_failed"}
    assert len({alert["id"] for alert in said}) == 1
    assert "record 9" in said[0]["text"]
    assert watching.value("piperoll_verified_findings") == 2
    await asyncio.to_thread(watching.watch._announcer.close)


async def test_one_of_two_verifies_and_what_cannot_be_verified_is_counted_and_tried_again(
    kafka, database, tmp_path
):
    """A folder without checkpoints: not yet sealed, or the wrong one."""
    (tmp_path / "empty").mkdir()
    one = Watching(kafka, database.reporter_dsn, checkpoints=str(tmp_path / "empty"))
    two = Watching(kafka, database.reporter_dsn, checkpoints=str(tmp_path / "empty"))
    stop = asyncio.Event()
    tasks = [asyncio.create_task(item.watch.run(stop)) for item in (one, two)]
    for _ in range(200):
        counts = [item.value("piperoll_verification_failures_total") for item in (one, two)]
        if sum(counts):
            break
        await asyncio.sleep(0.05)
    assert sorted(counts) == [0, 1]
    stop.set()
    await asyncio.gather(*tasks)


async def test_it_can_be_switched_off(kafka, database):
    watching = Watching(kafka, database.reporter_dsn, every_hours=0)
    await asyncio.wait_for(watching.watch.run(asyncio.Event()), 5)
    assert watching.value("piperoll_verified_timestamp_seconds") == 0
