"""`piperoll report` and `review`: editions made by hand, made again, replaced, signed; reviews; reads on record."""

import asyncio
import json
from hashlib import sha256

import pytest
from typer.testing import CliRunner

from deploy.local.postgres import run_async
from services.cli import reports, review
from services.cli.evidence import app as evidence
from tests import query
from tests.audit_tables import fill, tamper
from tests.builders import Log
from tests.chain_rows import START_US, ChainRows
from tests.orders import erasure, order
from tests.recording import TOPICS, Recorder
from tests.report_runs import Reporting, schedules_file
from tests.writing import read_all

HOUR_US = 3_600_000_000


@pytest.fixture
def command(kafka, database, tmp_path, monkeypatch):
    """`command("report", …)`: a subcommand in this process, in a folder of its own; its result."""
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "DATABASE_URL": database.reporter_dsn,
        "PIPEROLL_HOME": "home",
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "TOPIC_PREFIX": kafka.topic_prefix,
        "REPORTS_FILE": "",
    }.items():
        monkeypatch.setenv(name, text)

    def call(name, *arguments):
        app = {"report": reports.app, "export": evidence}[name]
        return CliRunner().invoke(app, [name, *map(str, arguments)])

    return call


@pytest.fixture
def october(database):
    """Events of October 2026 and the coordinates of the first."""
    chain = ChainRows(step_us=HOUR_US)
    for at in range(40):
        chain.event(time_us=START_US + at * HOUR_US, risk="high" if at % 20 == 7 else "low")
    asyncio.run(fill(database.admin_dsn, [chain]))
    return chain


def said(kafka, count):
    return [json.loads(value) for value in read_all(kafka, kafka.topics.system, count)]


SIGN = ("--by", "Ada Lovelace", "--role", "compliance officer", "--statement", "I have read it.")


def test_editions_are_made_again_replaced_and_signed_and_never_overwritten(
    command, kafka, database, october, tmp_path
):
    assert command("report", "build", "--period", "2026-10", "--out", "one").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "one").iterdir() if "report" in path.name) == [
        "report.html",
        "report.json",
        "report.md",
        "report.pdf",
    ]
    first = "by-hand/2026-10/1"
    again = command("report", "rebuild", first, "--json", "--out", "again")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["same"]
    assert (tmp_path / "again/report.json").read_bytes() == (tmp_path / "one/report.json").read_bytes()

    # more is recorded: the edition stays what it was, the next one says what differs, why and by whom
    asyncio.run(
        fill(database.admin_dsn, [ChainRows(chain_no=2, partition=1, seed=2, step_us=HOUR_US).events(5)])
    )
    assert json.loads(command("report", "rebuild", first, "--json").stdout)["same"]
    second = command(
        "report", "build", "--period", "2026-10", "--out", "two", "--why", "late records", "--by", "Bob"
    )
    assert "edition by-hand/2026-10/2" in second.stderr
    told = json.loads((tmp_path / "two/report.json").read_text())["edition"]
    assert (told["replaces"], told["why"], told["by"]) == (first, "late records", "Bob")
    assert {"figure": "totals.all.events", "before": 40, "after": 45} in told["differs"]
    assert command("report", "rebuild", "by-hand/2026-10/2").exit_code == 0
    assert query.rows(database.reporter_dsn, "SELECT count(*) FROM report.edition") == [(2,)]

    assert "was replaced by" in command("report", "sign", first, *SIGN).stderr
    signed = command("report", "sign", "by-hand/2026-10/2", *SIGN)
    assert signed.exit_code == 0, signed.output
    assert "has signed" in command("report", "sign", "by-hand/2026-10/2", *SIGN).stderr
    assert (
        "--despite"
        in command("report", "sign", "by-hand/2026-10/2", *SIGN[:2], *SIGN[2:], "--reason", "x").stderr
    )
    events = said(kafka, 9)
    kinds = [event["type"] for event in events]
    assert kinds.count("piperoll.report.edition") == 2
    assert kinds.count("piperoll.report.signature") == 1
    reads = [event["data"] for event in events if event["type"] == "piperoll.read"]
    assert [(read["what"], read.get("count")) for read in reads] == [
        ("rebuild", count) for events in (40, 40, 45) for count in (None, events)
    ]
    [signature] = [event["data"] for event in events if event["type"].endswith("signature")]
    assert signature["sha256"] == query.value(
        database.reporter_dsn, "SELECT encode(sha256, 'hex') FROM report.edition WHERE number = 2"
    )
    listed = command("report", "list", "--json")
    assert listed.exit_code == 0
    [row] = json.loads(listed.stdout)["reports"]
    assert (row["edition"], row["signatures"][0]["by"]) == ("by-hand/2026-10/2", "Ada Lovelace")
    shown = command("report", "list").stdout
    assert "signed by Ada Lovelace" in shown
    assert f"{first}:" not in shown
    shown = command("report", "list", "--all").stdout  # the replaced one too
    assert f"old  {first}: made" in shown
    assert "…, replaced by by-hand/2026-10/2\n" in shown
    despite = command("report", "sign", first, *SIGN, "--despite", "--reason", "it was sent already")
    assert despite.exit_code == 0, despite.output
    rows = json.loads(command("report", "list", "--json").stdout)["reports"]
    assert [(row["edition"], row["replaced_by"]) for row in rows] == [
        ("by-hand/2026-10/2", None),
        (first, "by-hand/2026-10/2"),
    ]


def test_a_red_edition_is_signed_only_despite_and_with_a_reason(command, kafka, database, october):
    asyncio.run(tamper(database.admin_dsn, "DELETE FROM audit.payload WHERE seq = 17"))
    assert command("report", "build", "--period", "2026-10", "--format", "json").exit_code == 1
    edition = "by-hand/2026-10/1"
    refused = command("report", "sign", edition, *SIGN)
    assert refused.exit_code == 2
    assert "its verification is red" in refused.stderr
    assert "--reason" in command("report", "sign", edition, *SIGN, "--despite").stderr
    despite = command("report", "sign", edition, *SIGN, "--despite", "--reason", "known since Monday")
    assert despite.exit_code == 0, despite.output
    assert "the record of it is not in the chains yet" in command("report", "list").stdout
    [signature] = [event for event in said(kafka, 3) if event["type"].endswith("signature")]

    async def write():
        async with Recorder(database.writer_dsn, TOPICS.system) as system:
            await system.record(order(signature["type"], signature["data"], signature["id"]))

    run_async(write())
    listed = command("report", "list")
    assert listed.exit_code == 1
    assert "signed despite, by Ada Lovelace (compliance officer), " in listed.stdout
    assert listed.stdout.partition("signed despite")[2].splitlines()[0].endswith(": known since Monday")


async def record_month(database):
    """Events as a writer records them, one of them raised by AI; their log."""
    log = Log(partition=0)
    async with Recorder(database.writer_dsn) as writer:
        await writer.record(*(log.event(at, at - 1) for at in range(5)))
    return log


def test_a_rebuild_names_what_was_erased_since(command, database, tmp_path):
    log = run_async(record_month(database))
    assert command("report", "build", "--format", "json", "--out", "one").exit_code == 0
    [(edition,)] = query.rows(database.reporter_dsn, "SELECT id FROM report.edition")

    async def erase():
        async with Recorder(database.writer_dsn, TOPICS.system) as system:
            await system.record(erasure([(log.topic_id, 0, 2)]))

    run_async(erase())
    other = command("report", "rebuild", edition, "--json")
    told = json.loads(other.stdout)
    assert other.exit_code == 0, other.output
    assert not told["same"]
    assert [(item["what"], item["reason"], item["events"]) for item in told["gone"]] == [
        ("erasure", "asked for", 1)
    ]
    shown = command("report", "rebuild", edition, "--format", "md", "--out", "two")
    assert shown.exit_code == 0, shown.output
    assert "since then: erasure of 1 events" in shown.stdout
    assert not (tmp_path / "two/report.md").exists()
    assert not (tmp_path / "two/edition.json").exists()
    said_first, _, _ = (tmp_path / "two/other-than-edition.report.md").read_text().partition("- Period")
    assert said_first.startswith("**NOT THE EDITION")
    assert "since then: erasure of 1 events" in said_first


def test_what_is_made_again_of_changed_records_is_no_file_of_the_edition(
    command, kafka, database, october, tmp_path
):
    """No record, no proof, names of their own, and each file says it first; exit status 1, as nothing was erased."""
    assert command("report", "build", "--period", "2026-10", "--format", "json", "--out", "o").exit_code == 0
    # as a superuser can: an event's payload is gone, and what was counted of it too
    asyncio.run(tamper(database.admin_dsn, "DELETE FROM audit.payload WHERE seq = 9"))
    asyncio.run(tamper(database.admin_dsn, "TRUNCATE tally.fact, tally.folded"))
    kept = (tmp_path / "o/report.json").read_bytes()
    other = command("report", "rebuild", "by-hand/2026-10/1", "--format", "html,json,md,pack", "--out", "o")
    assert other.exit_code == 1, other.output
    assert "nothing was erased since" in other.stdout
    assert "no record and no proof of them" in other.stderr
    assert [event["type"] for event in said(kafka, 4)].count("piperoll.report.files") == 1  # of the build
    names = {path.name.removeprefix("other-than-edition.") for path in (tmp_path / "o").glob("other-*")}
    assert names == {"report.html", "report.json", "report.md", "evidence.zip", "events.csv", "events.jsonl"}
    assert (tmp_path / "o/report.json").read_bytes() == kept
    assert not list((tmp_path / "o").glob("*.piperoll-proof"))
    made = (tmp_path / "o/other-than-edition.report.md").read_text()
    assert made.startswith("**NOT THE EDITION: made again, and other than it was.**")
    assert sha256(kept).hexdigest() in made.partition("# NOT THE EDITION")[0]
    assert "records below its cut were changed" in made
    document = json.loads((tmp_path / "o/other-than-edition.report.json").read_text())
    assert document["other_than_edition"]["sha256"] == sha256(kept).hexdigest()


def test_what_is_read_is_on_record_before_it_is_handed_out(command, kafka, october, monkeypatch, tmp_path):
    assert command("export", "--out", "all.jsonl").exit_code == 0
    assert (
        command("report", "preview", "--period", "2026-10", "--format", "json", "--out", "look").exit_code
        == 0
    )
    looked = json.loads((tmp_path / "look/report.json").read_text())["edition"]
    assert looked["number"] == 0
    assert "not an edition" in looked["why"]
    events = said(kafka, 4)
    assert [(event["data"]["what"], event["data"].get("count")) for event in events] == [
        ("export", None),
        ("export", 41),
        ("preview", None),
        ("preview", 40),
    ]
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")
    refused = command("export", "--out", "other.jsonl")
    assert refused.exit_code == 2
    assert "--no-record" in refused.stderr
    assert not (tmp_path / "other.jsonl").exists()


def test_a_schedules_report_is_built_anew_and_a_test_is_sent(
    command, kafka, database, october, monkeypatch, tmp_path
):
    file = schedules_file(tmp_path, "name: monthly, every: monthly, first: 2026-10-01, formats: [json]")
    monkeypatch.setenv("REPORTS_FILE", str(file))
    one = Reporting(kafka, database.reporter_dsn, tmp_path, file)
    run_async(one.turn("2026-11-02T00:00Z"))
    build = ("report", "build", "--schedule", "monthly", "--period", "2026-10", "--format", "json")
    assert "say why" in command(*build).stderr
    assert "has not reported on" in command(*build[:5], "2026-09").stderr
    built = command(*build, "--why", "late records", "--out", "mine")
    assert built.exit_code == 0, built.output
    assert command("report", "send", "monthly").exit_code == 2
    assert command("report", "send", "monthly", "--test").exit_code == 0
    run_async(one.turn("2026-11-02T00:01Z"))
    one.close()
    assert one.delivered() == ["monthly/2026-10/1", "monthly/2026-10/2"]
    assert (one.folder / "TEST-monthly.txt").is_file()
    listed = command("report", "list", "--schedule", "monthly")
    assert "archive (test)" in listed.stdout
    assert "next: monthly 2026-11, made at 2026-12-01 01:00 UTC" in listed.stdout
    assert command("report", "check").stdout.startswith("monthly: ")
    file.write_text("schedules: 3")
    assert command("report", "check").exit_code == 1
    file.write_text(
        "schedules:\n- {name: board, every: monthly, recipients: [{name: cfo, target: 'mail:cfo@example.org'}]}\n"
    )
    assert "warning: board, cfo: a report is to go out by mail" in command("report", "check").stdout


def test_a_review_that_makes_no_sense_is_refused(command, database):
    log = run_async(record_month(database))
    event = 2**48 + 2

    def refusal(*arguments):
        app = reports.typer.Typer()
        app.command()(review.review)
        result = CliRunner().invoke(app, [*map(str, arguments)])
        assert result.exit_code == 2, result.output
        return result.stderr

    good = ("--by", "Ada", "--reason", "planned")
    assert "nobody has reviewed it yet" in refusal(event, "--status", "open", *good)
    assert "is one of open, explained" in refusal(event, "--status", "done", *good)
    assert "--reason is missing" in refusal(event, "--status", "explained", "--by", "Ada", "--reason", " ")
    assert "no event but a record of kind genesis" in refusal(2**48, "--status", "explained", *good)
    assert "no such event" in refusal(2**48 + 99, "--status", "explained", *good)
    assert "no such event" in refusal(2**62, "--status", "explained", *good)
    assert "no such event" in refusal("--source", "/none", "--event-id", "1", "--status", "explained", *good)
    assert "U+0000" in refusal(event, "--status", "explained", "--by", "Ada", "--reason", "a\0b")
    # the writer is away: it stands on the topic, and the command says so
    late = refusal(f"{log.topic_id.hex()}:0:1", "--status", "incident", *good, "--patience", "0")
    assert "has not recorded" in late
