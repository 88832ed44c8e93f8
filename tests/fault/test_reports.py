"""A reporter killed (SIGKILL) before and after every step of a run: whoever goes on leaves one edition, recorded, delivered."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests import query
from tests.audit_tables import fill
from tests.chain_rows import ChainRows
from tests.fault.killed_reporter import STEPS
from tests.service_process import ROOT
from tests.writing import read_all


@pytest.mark.long
@pytest.mark.parametrize("kafka", [{"partitions": 1}], indirect=True)
def test_a_reporter_killed_at_any_step_leaves_one_edition(kafka, database, tmp_path):
    asyncio.run(fill(database.admin_dsn, [ChainRows(step_us=3_600_000_000).events(30)]))
    arguments = [kafka.bootstrap_servers, kafka.topic_prefix, database.reporter_dsn, str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fault.killed_reporter", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    cases = json.loads(done.stdout.splitlines()[-1])
    assert len(cases) == 2 * len(STEPS)
    said = [json.loads(value) for value in read_all(kafka, kafka.topics.system, 3 * len(cases))]
    said = [event for event in said if "sha256" in event["data"]]
    recorded = {event["id"]: event["data"]["sha256"] for event in said}
    hashes = Counter((event["id"], event["data"]["sha256"]) for event in said)
    files = Counter(event["data"]["edition"] for event in said if event["type"] == "piperoll.report.files")
    assert len(hashes) == len(recorded)  # said twice, it says the same
    for case in cases:
        where = (case["when"], case["what"])
        assert case["died"], where
        assert case["went_on"], (where, done.stderr[-2000:])
        sql = "SELECT e.id, encode(e.sha256, 'hex'), i.state FROM report.run r JOIN report.edition e ON e.run = r.id"
        sql += f" JOIN report.intent i ON i.edition = e.id WHERE r.schedule = '{case['schedule']}'"
        [(edition, sha256, state)] = query.rows(database.reporter_dsn, sql)
        assert state == "sent", where
        assert recorded[f"report-edition:{edition}"] == sha256, where
        folder = Path(case["folder"])
        assert [path.parent for path in folder.rglob("report.json") if ".new-" not in str(path)] == [
            folder / edition
        ], where
        told = json.loads((folder / edition / "edition.json").read_text())
        assert told["sha256"] == sha256, where
        assert told["record"]["id"] in recorded, where
        assert 1 <= files[edition] <= 2, where
