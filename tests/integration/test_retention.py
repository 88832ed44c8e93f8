"""`piperoll retain`: old months go with a record; what is left verifies, and so does what was archived."""

import asyncio
import gzip
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from typer.testing import CliRunner

from deploy.local.postgres import run_async
from schemas.verification.findings import Change, Part
from services.cli.evidence import app as evidence
from services.cli.group_offsets import open_group
from services.cli.restore import app as restore
from services.cli.retain import app as retain
from services.reporter.archive import read_archive
from services.reporter.verify import verify_database
from tests import query
from tests.audit_tables import tamper
from tests.builders import Log, annotation
from tests.fault import feeder
from tests.orders import erasure, order
from tests.recording import TOPICS, Recorder
from tests.sealing import Sealing, Silent
from tests.writing import Producer

ONE = pytest.mark.parametrize("kafka", [{"partitions": 1}], indirect=True)
NOW = datetime.now(UTC)


def month(back: int) -> datetime:
    """The first of the month so many before this one."""
    number = NOW.year * 12 + NOW.month - 1 - back
    return datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)


def in_month(back: int):
    """A clock on the tenth of that month."""
    us = int(month(back).replace(day=10).timestamp()) * 1_000_000
    return lambda: us


async def make_partition(dsn: str, back: int) -> None:
    """As audit.open_months made it in its time."""
    start, end, part = month(back), month(back - 1), f"payload_{month(back):%Y%m}"
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            f"SET ROLE piperoll_owner; CREATE TABLE audit.{part} (LIKE audit.payload INCLUDING DEFAULTS INCLUDING CONSTRAINTS);"
            f"ALTER TABLE audit.payload ATTACH PARTITION audit.{part} FOR VALUES FROM ('{start}') TO ('{end}');"
            f"SELECT audit.guard_partition('{part}', 'refuse_payload_change')"
        )
    finally:
        await connection.close()


async def record_months(database) -> Log:
    """Four months: the oldest without a partition of its own; records of all kinds, an erasure in the second."""
    for back in (3, 2, 1):
        await make_partition(database.admin_dsn, back)
    log = Log()
    async with (
        Recorder(database.writer_dsn) as events,
        Recorder(database.writer_dsn, TOPICS.annotations) as said,
        Recorder(database.writer_dsn, TOPICS.system) as system,
    ):
        for number, back in enumerate((4, 3, 2, 1)):
            for recorder in (events, said, system):
                recorder.clock = recorder.linker._clock = in_month(back)
            first = number * 10
            same = log.event(first + 1, identifier=f"same-{number}", value=b"{}")
            again = log.event(first + 2, identifier=f"same-{number}", value=b"{}")
            await events.record(
                log.event(first, first - 1 if first == 0 else first - 4),
                same,
                again,
                log.poison(first + 6, first + 2),
            )
            text = annotation(log.topic_id, 0, first)
            await said.record(log.event(0)._replace(value=text, headers=[]))
            await system.record(order("piperoll.alert", {"text": "x"}))
            if back == 3:
                await system.record(erasure([(log.topic_id, 0, 10), (log.topic_id, 0, 0)]))
    return log


@pytest.fixture
def years(kafka, database, start_service, tmp_path, monkeypatch):
    """A database of four old months, and the writer running."""
    log = run_async(record_months(database))
    variables = {
        "PIPEROLL_HOME": str(tmp_path / "home"),
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "TOPIC_PREFIX": kafka.topic_prefix,
        "DATABASE_URL": database.operator_dsn,
    }
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    with open_group(kafka):
        pass
    start_service("writer", WRITER_BATCH_AGE_MS="20").wait_ready()
    return log


def verify(database):
    return run_async(verify_database(database.reporter_dsn, processes=1))


def run(app, *arguments):
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, json.loads(result.stdout) if result.stdout else result.stderr


async def sealed(database, tmp_path) -> str:
    """Seals all that is there, without a look at Kafka; the key."""
    sealing = Sealing(database.sealer_dsn, tmp_path / "sealer", connect=Silent(None), patience_s=0.01)
    for _ in range(2):
        await sealing.rounds()
        await asyncio.sleep(0.05)
    await sealing.close()
    return sealing.verifier.vkey()


def partitions(database) -> list[str]:
    rows = query.rows(
        database.admin_dsn,
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^payload_[0-9]{6}$' ORDER BY 1",
    )
    return [name for (name,) in rows]


@ONE
def test_old_months_are_archived_dropped_and_still_verify(years, database, tmp_path):
    before = verify(database)
    assert before.findings == []
    assert before.erased == 4
    status, due = run(retain, "--keep", "1mo", "--dry-run")
    assert [one["name"] for one in due["due"]] == [f"{month(back):%Y-%m}" for back in (4, 3, 2)]
    archive = ["--archive", str(tmp_path / "archive"), "--yes"]
    status, unsealed = run(retain, "--keep", "3mo", *archive, "--format", "parquet")
    assert (status, unsealed["retained"][0]["proof"]) == (0, None), unsealed
    vkey = run_async(sealed(database, tmp_path))
    status, done = run(retain, "--keep", "1mo", *archive)
    assert status == 0, done
    done["retained"].insert(0, unsealed["retained"][0])
    assert [one["payloads_left"] for one in done["retained"]] == [0, 0, 0]
    assert partitions(database)[0] == f"payload_{month(1):%Y%m}"
    left = query.rows(
        database.reporter_dsn,
        "SELECT r.kind, audit.json_of(audit.value_of(p.body)) ->> 'type' FROM audit.payload p JOIN audit.record r USING (chain_no, seq)"
        " WHERE p.appended_at < $1 AND r.kind <> 4",
        month(1),
    )
    assert sorted(left) == [(5, None)] * 3 + [(8, "piperoll.erasure")]
    after = verify(database)
    assert after.findings == []
    assert (
        after.records == before.records + 4
    )  # genesis of the running writer's system chain, and three orders
    assert after.erased == 4
    assert after.retained == 3 * 6 - 4

    for one in done["retained"]:
        status, found = run(evidence, "verify", "--archive", one["archive"])
        assert (status, found["matched"], found["sha256"]) == (0, one["records"], one["sha256"]), found
        assert found["named_by"] is not None
        status, alone = run(evidence, "verify", "--archive", one["archive"], "--alone", "--vkey", vkey)
        if one["proof"] is None:
            assert status == 2  # it was asked for
        else:
            assert (status, alone["proved"]["log"]) == (0, "example.com/test/seal")
    assert run(retain, "--keep", "1mo", "--no-archive", "--yes")[1] == {"due": []}


@ONE
def test_an_archive_that_was_changed_is_found(years, database, tmp_path):
    _, done = run(retain, "--keep", "2mo", "--archive", str(tmp_path), "--yes")
    path = done["retained"][1]["archive"]
    lines = [json.loads(line) for line in gzip.decompress(Path(path).read_bytes()).splitlines()]
    changed = tmp_path / "changed.jsonl"
    lines[1]["leaf"] = lines[1]["leaf"][:-2] + "00"
    del lines[-1]
    changed.write_text("\n".join(map(json.dumps, lines)))
    status, found = run(evidence, "verify", "--archive", str(changed))
    assert status == 1
    assert found["named_by"] is None
    assert {(one["change"], one["part"]) for one in found["findings"]} >= {("edited", "record")}
    (tmp_path / "none.jsonl").write_text("{}")
    assert run(evidence, "verify", "--archive", str(tmp_path / "none.jsonl"))[0] == 2


@ONE
def test_what_was_retained_away_is_not_brought_back(years, kafka, database, tmp_path):
    """Neither by the command, for which nothing is damaged, nor by an order given by hand."""
    _, done = run(retain, "--keep", "1mo", "--archive", str(tmp_path), "--yes")
    path = done["retained"][2]["archive"]
    status, said = run(restore, "--all-damaged", "--no-kafka", "--export", path, "--reason", "x")
    assert (status, said["damaged"]) == (0, [])
    [old] = [
        record for record in read_archive(Path(path)) if record.chain.chain_no == 1 and record.row.seq == 14
    ]
    batch = os.urandom(16)

    async def stage():
        connection = await asyncpg.connect(database.operator_dsn)
        await connection.execute(
            "INSERT INTO audit.restoration (batch, chain_no, seq, what, salt, body, enrich_salt, enrich)"
            " VALUES ($1, 1, 14, 'payload', $2, $3, $4, $5)",
            *(batch, old.content.salt, old.content.body, old.content.enrich_salt, old.content.enrich),
        )
        await connection.close()

    run_async(stage())
    data = {
        "by": "t",
        "reason": "t",
        "requested_us": 1,
        "request": "r",
        "part": 1,
        "parts": 1,
        "source": "hand",
    }
    named = [{"chain_id": old.chain.chain_id.hex(), "seq": 14, "what": "payload"}]
    with Producer(kafka) as producer:
        message = order("piperoll.restore", data | {"batch": batch.hex(), "records": named})
        producer.send(kafka.topics.system, message.value)
    staged = "SELECT count(*) FROM audit.restoration"
    feeder.wait_until(lambda: query.value(database.admin_dsn, staged) == 0, what="the order")
    here = "SELECT count(*) FROM audit.payload WHERE chain_no = 1 AND seq = 14"
    assert query.value(database.admin_dsn, here) == 0
    assert verify(database).findings == []


@ONE
def test_a_reader_does_not_hold_up_the_writer(years, database, tmp_path):
    """A snapshot over the payloads: the order is recorded at once, the partition goes later."""

    async def scenario():
        reader = await asyncpg.connect(database.reporter_dsn)
        await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM audit.payload")
        status, done = await asyncio.to_thread(run, retain, "--keep", "2mo", "--no-archive", "--yes")
        assert (status, [one["payloads_left"] > 0 for one in done["retained"]]) == (1, [False, True])
        assert (await verify_database(database.reporter_dsn, processes=1)).good
        await reader.close()
        writer = await asyncpg.connect(database.writer_dsn)
        await writer.execute("SELECT audit.drop_retained()")
        await writer.close()

    run_async(scenario())
    assert run(retain, "--keep", "2mo", "--dry-run")[1] == {"due": []}
    assert verify(database).findings == []


@ONE
def test_a_month_that_is_not_over_and_a_forged_row_have_no_effect(years, database):
    data = {"by": "t", "reason": "t", "requested_us": 1, "request": "r", "part": 1, "parts": 1}
    data |= {"month": f"{NOW:%Y-%m}", "records": 1, "payloads": 1, "archive": None}

    async def give():
        async with Recorder(database.writer_dsn, TOPICS.system) as system:
            await system.claim()
            await system.record(order("piperoll.retention", data)._replace(offset=9))

    count = "SELECT count(*) FROM audit.payload WHERE chain_no < 3"
    before = query.value(database.admin_dsn, count)
    run_async(give())
    assert query.value(database.admin_dsn, count) == before
    assert verify(database).findings == []
    sql = "INSERT INTO audit.retention VALUES (3, 1, now()); DELETE FROM audit.payload WHERE chain_no = 1 AND seq = 1"
    run_async(tamper(database.admin_dsn, sql))
    assert {(one.change, one.part) for one in verify(database).findings} >= {
        (Change.INSERTED, Part.ERASURE),
    }


WRONG = [
    (["--keep", "1mo"], "say where to"),
    (["--keep", "13", "--no-archive"], "--keep takes"),
    (["--keep", "0mo", "--no-archive"], "--keep takes"),
]


@pytest.mark.parametrize(("arguments", "text"), WRONG)
def test_what_does_not_fit_together_is_said(arguments, text):
    result = CliRunner().invoke(retain, arguments)
    assert result.exit_code == 2
    assert text in result.stderr
