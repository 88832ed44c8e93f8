"""`piperoll verify`, `report build` and `export` on a real database, as subprocesses."""

import asyncio
import csv
import json
import os
import subprocess
import sys
import zipfile
from binascii import a2b_base64
from collections import Counter
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from schemas.chain import ChainVerifier
from schemas.hashing import NATIVE
from schemas.record import Kind
from schemas.verification.contents import Content
from schemas.verification.links import ChainInfo, Head, Row
from services.cli import evidence, reports
from services.reporter import verify
from services.reporter.evidence import read_evidence, read_policy
from tests.audit_tables import fill, tamper
from tests.chain_rows import START_US, ChainRows
from tests.report_runs import by_hand
from tests.sealed_log import SealedLog, store_seals
from tests.service_process import ROOT

HOSTILE = '<script>alert(1)</script> | `x` \u202e =1+1 "\n# Heading'
HOUR_US = 3_600_000_000
HIT = [{"id": "r-1", "title": f"Mass export {HOSTILE}", "level": "high"}]


def run(*arguments, dsn, monkeypatch):
    """The command in this process; the last test starts it as one of its own."""
    monkeypatch.setenv("DATABASE_URL", dsn)
    monkeypatch.setenv("PIPEROLL_HOME", "home")
    if arguments[0] == "export":
        arguments = (*arguments, "--no-record")  # without a broker
    return CliRunner().invoke(reports.app if arguments[0] == "report" else evidence.app, arguments)


def october():
    """A month with events of several types and actors, some in November, some of high risk, hostile texts among them."""
    first = ChainRows(chain_no=1, step_us=HOUR_US)
    for at in range(120):
        high = at % 20 == 7
        first.event(
            time_us=START_US + at * 10 * HOUR_US,
            type=HOSTILE if at % 30 == 11 else ("data_export" if high else "user_login"),
            risk="high" if high else "informational",
            rules=HIT if high else [],
            summary=HOSTILE,
            tags=["auth:login", "catalog:unknown"] if at % 30 == 11 else ["auth:login"],
            by="gpt-x" if at % 40 == 3 else "rules",
            pending=at % 40 == 5,
        )
    first.poison(reason=HOSTILE)
    first.duplicate(3)
    first.duplicate(4)
    first.skip(5)
    first.event(time_us=START_US + HOUR_US)
    second = ChainRows(chain_no=2, partition=1, seed=2, step_us=HOUR_US).events(10)
    annotations = ChainRows(chain_no=3, topic="audit.annotations", seed=4)
    annotations.annotation(first.topic_id, 0, 0, summary="raised later", risk="critical")
    return [first, second, annotations]


def selected(chains, *, until_us=START_US + 31 * 24 * HOUR_US):
    """The enrichments of the events of October, straight from the rows."""
    found = []
    for chain in chains:
        for row, content in zip(chain.rows, chain.contents, strict=True):
            at = row.appended_us if row.event_time_us is None else row.event_time_us
            if row.kind in (Kind.EVENT, Kind.POISON) and START_US <= at < until_us:
                found.append((row, json.loads(content.enrich)))
    return found


async def test_a_report_says_what_the_rows_say_and_leaves_hostile_texts_harmless(database, tmp_path):
    chains = october()
    await fill(database.admin_dsn, chains)
    built, document = await by_hand(database.reporter_dsn, "2026-10", tmp_path / "out")
    assert [path.name for path in built.paths] == [
        "report.html",
        "report.pdf",
        "report.md",
        "report.json",
        "evidence.zip",
        "events.jsonl",
        "events.csv",
        "edition.json",
    ]
    expected = selected(chains)
    assert document["integrity"]["good"]
    assert document["totals"]["all"]["events"] == len(expected) < 132
    by_type = Counter(said["type"] for row, said in expected if row.kind == Kind.EVENT)
    assert {row["key"]: row["events"] for row in document["tables"]["type"]["rows"]} == by_type
    by_day = Counter(
        datetime.fromtimestamp((row.event_time_us or row.appended_us) / 1e6, UTC).date().isoformat()
        for row, _ in expected
    )
    assert {row["day"]: row["events"] for row in document["by_day"] if row["events"]} == by_day
    actors = Counter(said["who"]["actor"] for _, said in expected if said.get("who"))
    assert {row["key"]: row["events"] for row in document["tables"]["actor"]["rows"]} == actors
    high = sum(said["risk"] in ("high", "critical") for _, said in expected)
    assert document["totals"]["all"]["high_risk"] == high + 1  # the annotation raised one
    assert [event["risk"] for event in document["high_risk"]["events"]] == ["critical"] + ["high"] * high
    assert document["high_risk"]["events"][0]["summary"] == "raised later"
    others = {row["name"]: row["records"] for row in document["other_records"]}
    assert others["Repeats of an event already recorded"] == 2
    assert document["totals"]["unchecked"]["events"] == 0
    hashes = {f"{chain.chain_no}:{row.seq}": row.record_hash.hex() for chain in chains for row in chain.rows}
    cites = [cite for sentence in document["summary"]["sentences"] for cite in sentence["cites"]]
    assert cites
    assert all(hashes[cite["record"]] == cite["hash"] for cite in cites)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<script>" not in page
    assert "[U+202E]" in page
    assert "Selected by event time" in page
    with (tmp_path / "out" / "events.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.reader(file))
    assert len(rows) == len(expected) + 1
    assert {len(row) for row in rows} == {len(rows[0])}
    lines = (tmp_path / "out" / "events.jsonl").read_bytes().splitlines()
    assert len(lines) == len(expected)
    assert {item["name"]: item["rows"] for item in document["attachments"]} == {
        "events.jsonl": len(expected),
        "events.csv": len(expected),
    }
    now = lambda: START_US + 20 * HOUR_US  # noqa: E731 - short here
    _, late = await by_hand(database.reporter_dsn, None, tmp_path / "days", [], clock=now)
    recorded = [row for chain in chains for row in chain.rows if row.kind in (Kind.EVENT, Kind.POISON)]
    within = [row for row in recorded if row.appended_us < START_US + 20 * HOUR_US]
    assert late["totals"]["all"]["events"] == len(within)


@pytest.mark.parametrize("empty", [False, True], ids=["with events", "without events"])
async def test_repeats_of_erased_events_are_counted_in_every_report(database, tmp_path, empty):
    """Tagged by the writer in a duplicate's own JSON (design 2.8); those of other periods are not counted."""
    chain = ChainRows()
    first = chain.event(time_us=START_US - 1 if empty else START_US)
    chain.duplicate(first.seq)
    for seq in (first.seq, first.seq):
        chain.duplicate(seq, tags=("identity:unchecked",), time_us=START_US + HOUR_US)
    chain.duplicate(first.seq, tags=("identity:unchecked",), time_us=START_US + 40 * 24 * HOUR_US)
    await fill(database.admin_dsn, [chain])
    _, said = await by_hand(database.reporter_dsn, "2026-10", tmp_path, ["html", "md"])
    assert said["integrity"]["good"]
    assert (said["totals"]["unchecked"]["events"], said["totals"]["unchecked"]["high_risk"]) == (2, 2)
    (cite,) = said["totals"]["unchecked"]["cites"]
    assert cite == {"record": "1:3", "hash": chain.rows[3].record_hash.hex()}
    (sentence,) = [one for one in said["summary"]["sentences"] if "identity:unchecked" in one["text"]]
    assert sentence["text"].startswith("2 repeats of erased events could not be compared")
    assert [one["record"] for one in sentence["cites"]] == ["1:3", "1:4"]
    for page in ("report.html", "report.md"):
        text = (tmp_path / page).read_text()
        assert "2 could not be compared with what was erased" in text
        assert "2 repeats of erased events" in text


async def test_missing_sequence_numbers_are_named_by_source_wherever_the_others_stand(database, tmp_path):
    """Over two chains, with late events that count as come, a number of 64 bits, and a source that misses nothing."""
    first, second = ChainRows(chain_no=1), ChainRows(chain_no=2, partition=1, seed=2)
    for number in (1, 2, 5, 6, 9, 10):
        (first if number % 2 else second).event(source="counts", sequence=number)
    first.event(source="counts", sequence=8, time_us=START_US + 40 * 24 * HOUR_US)  # in the next month
    for number in (2**64 - 4, 2**64 - 1):
        second.event(source=HOSTILE, sequence=number)
    for number in (3, 4, 5):
        second.event(source="whole", sequence=number)
    await fill(database.admin_dsn, [first, second])
    _, document = await by_hand(database.reporter_dsn, "2026-10", tmp_path / "out", ["html"])
    gaps = document["sequence_gaps"]
    assert [(gap["source"], gap["missing"], gap["gaps"], gap["numbers"]) for gap in gaps] == [
        ("counts", 3, 2, "3-4, 7"),
        (HOSTILE, 2, 1, f"{2**64 - 3}-{2**64 - 2}"),
    ]
    assert gaps[0]["cites"][0]["record"] == "2:1"
    texts = [item["text"] for item in document["summary"]["sentences"]]
    said = [text for text in texts if "sequence" in text]
    assert said == [
        "5 sequence numbers of 2 sources are missing, most of “counts” (3): such events were numbered by their source and did not arrive."
    ]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "3-4, 7" in page
    assert "<script>" not in page


def test_the_commands_tell_good_from_bad_by_their_exit_status(database, tmp_path, monkeypatch):
    """One database, good at first, then tampered with, then out of reach."""
    asyncio.run(fill(database.admin_dsn, october()))
    monkeypatch.chdir(tmp_path)

    def command(*arguments, dsn=database.reporter_dsn):
        return run(*arguments, dsn=dsn, monkeypatch=monkeypatch)

    verified = command("verify", "--json")
    assert verified.exit_code == 0, verified.output
    said = json.loads(verified.stdout)
    assert (said["records"], said["native_hashing"]) == (139, NATIVE)
    assert command("verify", "--chain", "2", "--leaves-only").exit_code == 0
    assert command("verify", "--chain", "9").exit_code == 2
    built = command("report", "build", "--period", "2026-10", "--format", "md")
    assert built.exit_code == 0, built.output
    folder = tmp_path / "piperoll-report-2026-10"
    assert built.stdout.splitlines()[0] == "piperoll-report-2026-10/report.md"
    assert sorted(path.name for path in folder.iterdir()) == [
        "edition.json",
        "events.csv",
        "events.jsonl",
        "report.md",
    ]
    assert command("report", "build").exit_code == 0
    assert (tmp_path / "piperoll-report-last-30-days" / "report.html").is_file()

    asyncio.run(tamper(database.admin_dsn, "DELETE FROM audit.record WHERE chain_no = 1 AND seq = 17"))
    verified = command("verify")
    assert verified.exit_code == 1
    lines = verified.stdout.splitlines()
    assert lines[0].startswith("NOT OK: 1 finding in 1 chain")
    assert any(line.startswith("chain 1, record 17 (source offset 16, appended between") for line in lines)
    built = command("report", "build", "--period", "2026-10", "--out", "bad")
    assert built.exit_code == 1
    assert (tmp_path / "bad" / "report.md").read_text().startswith("**NOT OK: 1 finding in 1 chain")
    page = (tmp_path / "bad" / "report.html").read_text()
    assert page.index("NOT OK") < page.index("<h1>")

    for arguments in (["verify"], ["report", "build"], ["export"]):
        outcome = command(*arguments, dsn="postgresql://nobody@127.0.0.1:9/none")
        assert outcome.exit_code == 2, arguments
        assert "DATABASE_URL" in outcome.stderr
    for arguments in (
        ["report", "build", "--period", "October"],
        ["report", "build", "--format", "docx"],
        ["report", "build", "--out", "bad/report.md"],
        ["export", "--since", "yesterday"],
        ["export", "--format", "csv"],
    ):
        assert command(*arguments).exit_code == 2, arguments


def test_a_crash_of_verify_is_no_finding(monkeypatch):
    def crash(*_arguments, **_options):
        raise ZeroDivisionError

    monkeypatch.setattr(verify, "verify_database", crash)
    assert run("verify", dsn="postgresql://x", monkeypatch=monkeypatch).exit_code == 2


def test_an_export_verifies_without_the_database(database, tmp_path, monkeypatch):
    """By the command as a process of its own."""
    chains = october()
    asyncio.run(fill(database.admin_dsn, chains))
    exported = subprocess.run(
        [sys.executable, "-m", "services.cli", "export", "--no-record", "--out", tmp_path / "all.jsonl"],
        check=False,
        capture_output=True,
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": database.reporter_dsn, "PIPEROLL_HOME": str(tmp_path)},
        timeout=120,
    )
    assert exported.returncode == 0
    assert exported.stderr.endswith(b"not put on record\n139 records exported\n")
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_bytes().splitlines()]
    for chain in chains:
        mine = [line for line in lines if line["chain_no"] == chain.chain_no]
        assert verify_lines(mine).good
        mine[5 % len(mine)]["body"] = mine[0]["body"] + "AAAA"
        assert not verify_lines(mine).good
    arguments = ("export", "--type", "data_export", "--until", "2026-10-03")
    some = run(*arguments, dsn=database.reporter_dsn, monkeypatch=monkeypatch)
    events = [json.loads(line) for line in some.stdout.splitlines()]
    assert {line["event"]["type"] for line in events} == {"data_export"}
    assert all(line["appended_us"] < START_US + 48 * HOUR_US for line in events)
    assert events


def verify_lines(lines):
    """A verification from an export alone: what its README will show."""
    hexed = bytes.fromhex

    first, last = lines[0], lines[-1]
    info = ChainInfo(
        first["chain_no"],
        hexed(first["chain_id"]),
        first["topic"],
        hexed(first["topic_id"]),
        first["partition"],
        "cluster",
        None,
    )
    rows = [
        Row(
            line["seq"],
            line["kind"],
            line["source_offset"],
            line["appended_us"],
            line["event_time_us"],
            line["identity_hash"],
            hexed(line["record_hash"]),
            hexed(line["leaf"]),
        )
        for line in lines
    ]
    contents = [
        Content(
            line["seq"],
            line["appended_us"],
            hexed(line["payload_salt"]),
            None if line["body"] is None else a2b_base64(line["body"]),
            None if line["enrichment_salt"] is None else hexed(line["enrichment_salt"]),
            None if line["enrichment"] is None else a2b_base64(line["enrichment"]),
        )
        for line in lines
    ]
    head = Head(last["seq"] + 1, rows[-1].record_hash, last["source_offset"] + 1, 1, closed=False)
    verifier = ChainVerifier(info, head)
    verifier.feed(rows, contents)
    return verifier.finish()


async def test_a_report_of_sealed_records_is_proved_by_its_pack_and_by_the_one_file_verifier(
    database, tmp_path
):
    chain, system = ChainRows(chain_no=1), ChainRows(chain_no=2, topic="audit.system", seed=3)
    for at in range(30):
        chain.event(time_us=START_US + at * HOUR_US, risk="high" if at == 7 else "low", summary=HOSTILE)
    system.own_event()
    log = SealedLog(chain, system)
    log.seal()
    await fill(database.admin_dsn, log.chains)
    await store_seals(database.admin_dsn, log)
    log.publish(tmp_path / "published")
    vkey = log.signer(log.seal_origin).verifier.vkey()
    checkpoints = read_evidence([str(tmp_path / "published")], read_policy([vkey], None))
    built, document = await by_hand(
        database.reporter_dsn, "2026-10", tmp_path / "out", ["pack"], evidence=checkpoints
    )
    assert built.verification.good
    (tmp_path / "policy").write_bytes(log.policy())
    command = [sys.executable, "schemas/standalone/piperoll_verify.py", tmp_path / "out" / "evidence.zip"]
    command += ["--policy", tmp_path / "policy", "--json"]
    said = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True, check=True)
    found = json.loads(said.stdout)
    assert found["pack"]["proved"] == found["pack"]["cited"] == len(document["cited"]) > 0
    with zipfile.ZipFile(tmp_path / "out" / "evidence.zip") as pack:
        assert {"events/events.jsonl", "checkpoints/seal-1", "policy.txt", "report/report.pdf"} <= {
            *pack.namelist()
        }
        assert (
            pack.read("checkpoints/seal-1") == (tmp_path / "published" / "seal" / "checkpoint").read_bytes()
        )
