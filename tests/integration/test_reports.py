"""Reports by themselves, on a real database and broker: made once, recorded, delivered, made again, never overwritten."""

import asyncio
import json
from collections import Counter
from hashlib import sha256

import asyncpg
import pytest

from services.reporter.deliver.leader import leadership
from tests.audit_tables import fill, tamper
from tests.chain_rows import START_US, ChainRows
from tests.report_runs import Reporting, schedules_file
from tests.sealing import Sealing, silent_of
from tests.writing import read_all

HOUR_US = 3_600_000_000


@pytest.fixture
async def october(database):
    """Events from 1 to 5 October 2026."""
    chain = ChainRows(step_us=HOUR_US)
    for at in range(100):
        chain.event(time_us=START_US + at * HOUR_US, risk="high" if at % 20 == 7 else "low")
    await fill(database.admin_dsn, [chain])
    return chain


@pytest.fixture
def reporting(kafka, database, tmp_path):
    """`reporting("name: …, every: …")`: a reporter with these schedules."""
    made = []

    def make(*schedules, **settings):
        file = schedules_file(tmp_path, *schedules)
        made.append(Reporting(kafka, database.reporter_dsn, tmp_path, file, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


async def said_on(kafka, topic, count):
    return [json.loads(value) for value in await asyncio.to_thread(read_all, kafka, topic, count)]


async def rows(database, sql):
    connection = await asyncpg.connect(database.reporter_dsn)
    try:
        return [tuple(row) for row in await connection.fetch(sql)]
    finally:
        await connection.close()


async def test_a_month_is_reported_once_and_its_hash_is_on_record(kafka, database, october, reporting):
    one = reporting("name: monthly, every: monthly, first: 2026-10-01")
    await one.turn("2026-11-01T00:59Z")
    assert one.delivered() == []
    await one.turn("2026-11-01T01:00Z")
    await one.turn("2026-11-01T01:01Z")
    assert one.delivered() == ["monthly/2026-10/1"]
    folder = one.folder / "monthly/2026-10/1"
    document = (folder / "report.json").read_bytes()
    read = json.loads(document)
    assert read["edition"]["id"] == "monthly/2026-10/1"
    assert read["integrity"]["good"]
    told = json.loads((folder / "edition.json").read_text())
    assert told["sha256"] == sha256(document).hexdigest()
    assert {name: sha256((folder / name).read_bytes()).hexdigest() for name in told["files"]} == told["files"]
    event, files, _ = await said_on(kafka, kafka.topics.system, 3)
    assert (event["type"], event["source"]) == ("piperoll.report.edition", "piperoll/report")
    assert event["data"]["sha256"] == sha256(document).hexdigest()
    assert (files["type"], files["id"]) == ("piperoll.report.files", told["record"]["id"])
    assert {file["name"]: file["sha256"] for file in files["data"]["files"]} == told["files"]
    assert (told["proof"], told["why_no_proof"]) == (None, "nothing has been sealed yet: no sealer runs")
    [(state, attempts, receipt)] = await rows(database, "SELECT state, attempts, receipt FROM report.intent")
    assert (state, attempts) == ("sent", 1)
    assert json.loads(receipt)["folder"] == str(folder)


async def test_after_downtime_every_missed_period_is_reported_the_oldest_first(
    kafka, database, october, reporting
):
    """Also the days on which nothing happened; two reporters at once make each of them once."""
    first = reporting(
        "name: daily, every: daily, first: 2026-10-03, time_zone: Europe/Berlin, formats: [json]"
    )
    second = Reporting(
        kafka, database.reporter_dsn, first.folder.parent, first.folder.parent / "reports.yaml"
    )
    await asyncio.gather(*(one.turn("2026-10-09T12:00+02:00") for one in (first, second)))
    days = [f"2026-10-0{day}" for day in range(3, 9)]
    assert first.delivered() == [f"daily/{day}/1" for day in days]
    made = await rows(database, "SELECT id FROM report.edition ORDER BY made_at, id")
    assert made == [(f"daily/{day}/1",) for day in days]
    counts = {
        day: json.loads((first.folder / f"daily/{day}/1/report.json").read_text())["totals"]["all"]["events"]
        for day in days
    }
    assert sum(counts.values()) == 54  # from midnight in Berlin on 3 October on
    assert counts["2026-10-08"] == 0
    said = await said_on(kafka, kafka.topics.system, 3 * len(days))
    kinds = Counter(kind for kind, _ in {(event["type"], event["id"]) for event in said})
    assert kinds["piperoll.report.edition"] == kinds["piperoll.report.files"] == len(days)
    second.close()


async def test_a_second_reporter_stands_by_until_the_first_is_gone(kafka, database, october, reporting):
    one = reporting("name: monthly, every: monthly, first: 2026-10-01, formats: [json]")
    one.now_us = START_US + 32 * 24 * HOUR_US
    one.runs._settings = one.runs._settings.model_copy(update={"every_s": 0.05})
    stop = asyncio.Event()
    async with leadership(database.reporter_dsn, f"{kafka.topic_prefix}/reports", stop):
        task = asyncio.create_task(one.runs.run(stop))
        await asyncio.sleep(0.5)
        assert one.delivered() == []
    for _ in range(200):
        if one.delivered():
            break
        await asyncio.sleep(0.05)
    assert one.delivered() == ["monthly/2026-10/1"]
    stop.set()
    await asyncio.wait_for(task, 10)


async def test_a_report_waits_for_a_seal_from_after_the_period(kafka, database, tmp_path, reporting):
    """And is made all the same once it is due, cut at the last seal that there is."""
    chain = ChainRows(step_us=HOUR_US).events(30)
    await fill(database.admin_dsn, [chain])
    sealing = Sealing(database.sealer_dsn, tmp_path / "sealer", connect=silent_of(chain))
    await sealing.rounds()
    await sealing.close()
    one = reporting("name: soon, every: daily, formats: [json]", checkpoints=str(sealing.folder))
    await one.turn("2026-10-02T02:00Z")
    document = json.loads((one.folder / "soon/2026-10-01/1/report.json").read_text())
    assert document["cut"]["seal_no"] == 0
    assert len(document["cut"]["root"]) == 64
    schedules_file(tmp_path, "name: later, every: daily, first: 2036-01-01, formats: [json]")
    await one.turn("2036-01-02T02:00Z")
    assert one.delivered() == ["soon/2026-10-01/1"]
    await one.turn("2036-01-03T02:00Z")
    assert one.delivered() == ["later/2036-01-01/1", "soon/2026-10-01/1"]


async def test_what_is_late_is_said_once_and_to_somebody_else(kafka, database, october, reporting, tmp_path):
    """The recipient's folder cannot be written; what is wrong with one schedule holds up no other."""
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "cfo").write_text("a file where a folder should be")
    one = reporting(
        "name: board, every: monthly, first: 2026-10-01, due: 2h, alarm: {name: ops, target: 'directory:ops'},"
        " recipients: [{name: cfo, target: 'directory:cfo', detail: full}]",
        "name: other, every: monthly, first: 2026-10-01, formats: [json]",
    )
    await one.turn("2026-11-01T01:00Z")
    assert one.delivered() == ["other/2026-10/1"]
    for at in ("2026-11-01T03:00Z", "2026-11-01T03:01Z", "2026-11-01T03:05Z"):
        await one.turn(at)
    [alert] = await said_on(kafka, kafka.topics.alerts, 1)
    assert (alert["name"], alert["severity"]) == ("report_late", "high")
    assert "board/2026-10" in alert["text"]
    note = (one.folder / "ops" / "LATE-board-2026-10.txt").read_text()
    assert "It was due 2026-11-01 03:00" in note
    assert "cfo (" in note
    assert "does not have it, waiting: " in note
    (tmp_path / "reports" / "cfo").unlink()
    await one.turn("2026-11-01T05:00Z")
    assert "cfo/board/2026-10/1" in one.delivered()
    assert one.value("piperoll_reports_late_total", schedule="board") == 1


async def test_a_schedule_that_cuts_time_otherwise_than_before_is_refused(
    kafka, database, october, reporting, tmp_path
):
    one = reporting("name: a, every: monthly, first: 2026-10-01, formats: [json]")
    await one.turn("2026-11-02T00:00Z")
    schedules_file(
        tmp_path,
        "name: a, every: monthly, time_zone: Asia/Tokyo",
        "name: b, every: weekly, first: 2026-10-01, formats: [json]",
    )
    await one.turn("2026-12-02T00:00Z")
    schedules_file(tmp_path, "name: a, every: yearly")
    await one.turn("2026-12-02T00:01Z")
    alerts = await said_on(kafka, kafka.topics.alerts, 2)
    assert [alert["name"] for alert in alerts] == ["schedule_changed", "reports_file_wrong"]
    assert "Give the changed schedule a name of its own" in alerts[0]["text"]
    assert "line 2, schedules[0].every" in alerts[1]["text"]
    assert {name.partition("/")[0] for name in one.delivered()} == {"a", "b"}
    assert len(one.delivered()) == 1 + 9


async def test_damaged_records_are_reported_as_such(database, october, reporting):
    one = reporting("name: monthly, every: monthly, first: 2026-10-01, formats: [json]")
    await tamper(database.admin_dsn, "DELETE FROM audit.payload WHERE seq = 9")
    await one.turn("2026-11-01T01:00Z")
    [(good, verdict)] = await rows(database, "SELECT good, verdict FROM report.edition")
    assert not good
    assert verdict.startswith("NOT OK")


async def test_editions_and_what_was_recorded_of_them_cannot_be_changed(database, october, reporting):
    one = reporting("name: monthly, every: monthly, first: 2026-10-01, formats: [json]")
    await one.turn("2026-11-01T01:00Z")
    admin = await asyncpg.connect(database.admin_dsn)
    for sql in (
        "UPDATE report.edition SET why = 'x'",
        "DELETE FROM report.edition",
        "TRUNCATE report.recorded, report.signature",
        "DELETE FROM report.run",
    ):
        with pytest.raises(asyncpg.PostgresError, match="never overwritten"):
            await admin.execute(sql)
    await admin.close()
