"""A reporter killed (SIGKILL) before and after every step of a run, and of a delivery by every way out: whoever goes on leaves
one edition, recorded, and delivered as the table of tests/fault/killed_delivery.py says."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from email.utils import parseaddr
from hashlib import sha256 as hash_of
from pathlib import Path
from urllib.parse import parse_qs

import boto3
import pytest

from tests import query
from tests.audit_tables import fill
from tests.certificates import Authority
from tests.chain_rows import ChainRows
from tests.fault import killed_delivery
from tests.fault.killed_reporter import STEPS
from tests.service_process import ROOT
from tests.standins.receivers import Mailbox, Webhook
from tests.standins.s3_server import S3Server
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


@pytest.fixture
def mailbox(tmp_path, monkeypatch):
    authority = Authority("reports test")
    made = Mailbox(*authority.sign("mail", addresses=("127.0.0.1",)).save(tmp_path, "mail"))
    (tmp_path / "authority.pem").write_text(authority.certificate)
    for name, value in {
        "HOST": "127.0.0.1",
        "PORT": str(made.port),
        "CAFILE": str(tmp_path / "authority.pem"),
        "USER": Mailbox.USER,
        "PASSWORD": Mailbox.PASSWORD,
        "FROM": "reports@example.org",
    }.items():
        monkeypatch.setenv(f"REPORT_SMTP_{name}", value)
    yield made
    made.close()


@pytest.fixture
def hook():
    made = Webhook(200)
    yield made
    made.close()


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    with S3Server(tmp_path / "s3.log") as server:
        told = {"ENDPOINT": server.url, "ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "secret"}
        for name, value in told.items():
            monkeypatch.setenv(f"REPORT_S3_{name}", value)
        client = boto3.client(
            "s3",
            endpoint_url=server.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="secret",
        )
        client.create_bucket(Bucket="reports")
        yield client


class Arrived:
    """What has arrived of a case: how often, under which names; the files of a folder and of a bucket are whole."""

    def __init__(self, folder, mailbox, hook, bucket):
        self._folder, self._bucket = folder, bucket
        self._mails = [
            (parseaddr(message["To"])[1].partition("@")[0], message["Message-ID"])
            for message in mailbox.messages
        ]
        self._calls = [
            (parse_qs(path.partition("?")[2])["case"][0], headers["Idempotency-Key"])
            for path, (headers, _) in zip(hook.paths, hook.requests, strict=True)
        ]

    def of(self, case):
        """(how often, the names it came under)"""
        if case.way in ("mail", "webhook"):
            named = [
                name
                for of, name in (self._mails if case.way == "mail" else self._calls)
                if of == case.schedule
            ]
            return len(named), set(named)
        files = self._in_folder(case) if case.way == "directory" else self._in_bucket(case)
        [manifest] = [name for name in files if name.endswith("/edition.json")]
        told = json.loads(files.pop(manifest))
        at = manifest.removesuffix("edition.json")
        assert {name.removeprefix(at): hash_of(data).hexdigest() for name, data in files.items()} == told[
            "files"
        ]
        return 1, {told["edition"]}

    def _in_folder(self, case):
        place = self._folder / case.schedule
        return {
            str(path.relative_to(place)): path.read_bytes()
            for path in place.rglob("*.json")
            if ".new-" not in str(path)
        }

    def _in_bucket(self, case):
        there = self._bucket.list_objects_v2(Bucket="reports", Prefix=f"{case.schedule}/")["Contents"]
        keys = [item["Key"] for item in there]
        return {key: self._bucket.get_object(Bucket="reports", Key=key)["Body"].read() for key in keys}


@pytest.mark.long
@pytest.mark.parametrize("kafka", [{"partitions": 1}], indirect=True)
@pytest.mark.timeout(900)
@pytest.mark.parametrize("way", killed_delivery.WAYS)
def test_a_reporter_killed_at_any_step_of_a_delivery_delivers_once_or_says_that_it_may_be_twice(
    way, kafka, database, tmp_path, mailbox, hook, request
):
    bucket = request.getfixturevalue("bucket") if way == "s3" else None
    asyncio.run(fill(database.admin_dsn, [ChainRows(step_us=3_600_000_000).events(30)]))
    cases = killed_delivery.cases(way)
    home = tmp_path / "reporter"
    places = [kafka.bootstrap_servers, kafka.topic_prefix, database.reporter_dsn, str(home)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fault.killed_delivery", way, *places, hook.url.partition("?")[0]],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=800,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["made"] == 0, done.stderr[-3000:]
    assert [one["schedule"] for one in told["cases"]] == [case.schedule for case in cases]
    arrived = Arrived(home / "reports", mailbox, hook, bucket)
    events = [json.loads(value) for value in read_all(kafka, kafka.topics.system, 4 * len(cases), timeout=5)]
    receipts = {event["id"]: event["data"] for event in events if event["type"] == "piperoll.report.delivery"}
    sql = "SELECT i.state, i.message_id, e.id FROM report.run r JOIN report.edition e ON e.run = r.id JOIN report.intent i ON i.edition = e.id"
    for case, one in zip(cases, told["cases"], strict=True):
        where = (case.way, case.step, case.at[2])
        assert one["died"], (where, done.stderr[-3000:])
        assert one["went_on"], (where, done.stderr[-3000:])
        [(state, message_id, edition)] = query.rows(
            database.reporter_dsn, f"{sql} WHERE r.schedule = '{case.schedule}'"
        )
        times, names = arrived.of(case)
        assert (times, state) == case.expected, where
        name = {"mail": message_id, "webhook": message_id.strip("<>").partition("@")[0]}.get(
            case.way, edition
        )
        assert names == {name}, where  # twice, but under one name
        assert [data["state"] for data in receipts.values() if data["schedule"] == case.schedule] == [
            state
        ], where
