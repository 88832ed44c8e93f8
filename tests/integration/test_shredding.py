"""Crypto-shredding on the running pipeline: what is declared personal is in no copy, and dies with its key."""

import base64
import json
import subprocess
from datetime import UTC, datetime

import pytest
import typer
from typer.testing import CliRunner

from deploy.local.postgres import run_async
from deploy.local.postgres_programs import find_programs
from services.cli import emit, erase, evidence, opening, reports
from services.cli.group_offsets import open_group
from services.common.kafka import admin_client
from services.common.shredding.keys import SubjectKeys
from services.common.shredding.opening import Opener, State
from services.reporter.verify import verify_database
from tests import query
from tests.fault import feeder
from tests.ingest_parts import BATCH, LINES, STRUCTURED, Ingest, messages

FIELDS = """
- source: /shop*
  subject: user_id
  fields: [user_id, email, note, seen.by, "@subject", "@partitionkey"]
"""
JO, ANN = "jo@canary.example", "ann@canary.example"
CANARIES = [b"canary.example", b"Jo Canary", b"born in 1984"]
SMALL = {"ENRICHER_COMMIT_INTERVAL": "0.2", "WRITER_BATCH_AGE_MS": "20"}


def event(number, user, **more):
    data = {
        "user_id": user,
        "email": user,
        "note": "Jo Canary, born in 1984",
        "seen": [{"by": user}],
        "n": 1.10,
    }
    data |= {"timestamp": "2026-11-26T00:00:00Z", "ip_address": "192.0.2.1"}
    return {
        "specversion": "1.0",
        "id": f"e-{number}",
        "source": "/shop",
        "type": "user_login",
        "data": data,
    } | more


class Shop:
    """Ingest, enricher and writer with one partition; a command line beside them."""

    def __init__(self, kafka, database, service, keys):
        self.kafka, self.database, self.keys = kafka, database, keys
        self.ingest = Ingest(service, kafka)

    def wait(self, count):
        sql = "SELECT count(*) FROM audit.record WHERE kind IN (1, 2, 3)"
        feeder.wait_until(
            lambda: query.value(self.database.reporter_dsn, sql) >= count, timeout=60, what=f"{count} records"
        )

    def run(self, app, *arguments):
        """(exit status, stdout, stderr) of a subcommand."""
        result = CliRunner().invoke(app, list(map(str, arguments)))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.stdout, result.stderr

    def ids(self):
        rows = query.rows(self.database.reporter_dsn, "SELECT event_id, id FROM audit_events")
        return dict(rows)

    def topics(self):
        """All bytes of all topics."""
        admin = admin_client(self.kafka, "tests")
        names = [name for name in admin.list_topics() if name.startswith(self.kafka.topic_prefix)]
        admin.close()
        found = [message for name in names for message in messages(self.kafka, name)]
        parts = [(one.key, one.value, *(content for _, content in one.headers)) for one in found]
        return b"\n".join(piece for part in parts for piece in part if piece)

    def dump(self):
        """pg_dump of the whole database, as text, and with its bytea columns read."""
        program = find_programs().folder / "pg_dump"
        text = subprocess.run([program, self.database.admin_dsn], capture_output=True, check=True).stdout
        columns = [bytes.fromhex(piece[3:].decode()) for piece in text.split() if piece.startswith(b"\\\\x")]
        return text + b"\n".join(columns)

    def said(self, kind):
        """Own events of a type."""
        values = [json.loads(one.value) for one in messages(self.kafka, self.kafka.topics.system)]
        return [value for value in values if value["type"] == kind]

    def verify(self):
        return run_async(verify_database(self.database.reporter_dsn, processes=1))


@pytest.fixture
def shop(kafka, database, start_service, tmp_path, monkeypatch):
    keys = tmp_path / "subject-keys"
    keys.mkdir()
    fields = tmp_path / "fields.yaml"
    fields.write_text(FIELDS)
    variables = {
        "PIPEROLL_HOME": str(tmp_path / "home"),
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "TOPIC_PREFIX": kafka.topic_prefix,
        "DATABASE_URL": database.reporter_dsn,
        "REPORT_DIR": str(tmp_path / "reports"),
        "REPORTS_FILE": "",
        "SUBJECT_KEYS_DIR": str(keys),
        "SUBJECT_FIELDS": str(fields),
    }
    monkeypatch.chdir(tmp_path)
    with open_group(kafka):
        pass
    service = start_service("ingest", SUBJECT_KEYS_DIR=str(keys), SUBJECT_FIELDS=str(fields))
    for name in ("enricher", "writer"):
        start_service(name, **SMALL).wait_ready()
    service.wait_ready()
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    shop = Shop(kafka, database, service, keys)
    yield shop
    shop.ingest.client.close()


def send_in_every_form(shop, tmp_path):
    short = {"event_type": "user_login", "source": "/shop", "id": "e-0", "event_data": event(0, JO)["data"]}
    reply = shop.ingest.post("/audit?wait=30", json=short)
    assert reply.status_code == 200
    assert "User subject:" in reply.json()["summary"]
    assert not any(canary in reply.content for canary in CANARIES)
    structured = event(1, JO, subject=JO, partitionkey=JO)
    assert (
        shop.ingest.post("/v1/events", content=json.dumps(structured), headers=STRUCTURED).status_code == 202
    )
    binary = {
        "ce-specversion": "1.0",
        "ce-id": "e-2",
        "ce-source": "/shop",
        "ce-type": "user_login",
        "ce-subject": JO,
    }
    assert shop.ingest.post("/v1/events", json=event(2, JO)["data"], headers=binary).status_code == 202
    batch = json.dumps([event(3, ANN), event(1, JO, subject=JO, partitionkey=JO)])
    assert shop.ingest.post("/v1/events", content=batch, headers=BATCH).status_code == 202
    other = {"specversion": "1.0", "id": "e-9", "source": "/blog", "type": "t", "data": {"user_id": "plain"}}
    lines = "\n".join(map(json.dumps, [event(4, JO), other]))
    assert shop.ingest.post("/v1/events", content=lines, headers=LINES).status_code == 202
    (tmp_path / "events.jsonl").write_text(
        json.dumps(event(5, ANN)) + "\n" + json.dumps(event(6, None)) + "\n"
    )
    emitting = typer.Typer()
    emitting.command()(emit.emit)
    status, out, said = shop.run(emitting, tmp_path / "events.jsonl")
    assert (status, out) == (1, "1 events acknowledged\n")
    assert "user_id must be there" in said
    shop.wait(8)


def assert_nowhere(shop, tmp_path):
    """No declared value in topics, database, export and report; and the search would find one."""
    month = datetime.now(UTC).strftime("%Y-%m")
    status, _, said = shop.run(
        reports.app,
        "report",
        "build",
        "--period",
        month,
        "--out",
        tmp_path / "report",
        "--format",
        "html,md,json",
    )
    assert status == 0, said
    assert shop.run(evidence.app, "export", "--out", tmp_path / "export.jsonl")[0] == 0
    exported = [json.loads(line) for line in (tmp_path / "export.jsonl").read_text().splitlines()]
    bodies = b"\n".join(base64.b64decode(one["body"] or "") for one in exported)
    files = b"\n".join(path.read_bytes() for path in (tmp_path / "report").rglob("*") if path.is_file())
    for name, copy in {
        "topics": shop.topics(),
        "dump": shop.dump(),
        "export": bodies,
        "report": files,
    }.items():
        assert [canary for canary in CANARIES if canary in copy] == [], name
        assert b"/blog" in copy, name
    return files


@pytest.mark.parametrize("kafka", [{"partitions": 1}], indirect=True)
def test_declared_fields_are_in_no_copy_and_die_with_their_key(shop, tmp_path):
    send_in_every_form(shop, tmp_path)
    page = assert_nowhere(shop, tmp_path)
    key_id = SubjectKeys(shop.keys, create=False).find(JO)
    assert f"subject:{key_id[:16]}".encode() in page
    assert query.value(shop.database.reporter_dsn, "SELECT count(*) FROM audit.record WHERE kind = 2") == 1
    kept_elsewhere = messages(shop.kafka, shop.kafka.topics.events)

    status, out, said = shop.run(opening.app, shop.ids()["e-1"], "--json")
    assert status == 0, said
    assert json.loads(out)["event"] == event(1, JO, subject=JO, partitionkey=JO)
    assert [one["data"]["what"] for one in shop.said("piperoll.read")][-1] == "opened event"

    refused = shop.ingest.post(
        "/v1/events", content=json.dumps([event(7, JO), event(8, None, type="seen")]), headers=BATCH
    )
    assert (refused.status_code, [one["index"] for one in refused.json()["errors"]]) == (422, [1])
    assert refused.json()["errors"][0]["path"] == "user_id"

    status, out, said = shop.run(erase.app, "--subject", JO, "--field", "key", "--dry-run", "--json")
    assert (status, len(json.loads(out)["found"]), json.loads(out)["key"]) == (0, 5, key_id), said
    status, out, said = shop.run(erase.app, "--subject", "nobody", "--field", "key", "--dry-run")
    assert (status, "no key of this subject" in said) == (2, True)
    status, out, said = shop.run(
        erase.app, "--subject", JO, "--reason", "request under Art. 17", "--yes", "--json"
    )
    assert status == 0, said
    certificate = json.loads(out)
    assert (certificate["key"]["id"], len(certificate["erased"])) == (key_id, 5)
    assert "Backups of SUBJECT_KEYS_DIR" in {copy["where"] for copy in certificate["copies"]}
    opener = Opener(SubjectKeys(shop.keys, create=False))
    for message in kept_elsewhere:
        opener.event(message.value, message.headers)
    states = {field.state for field in opener.fields if field.key_id == key_id}
    assert states == {State.DESTROYED}
    assert {field.state for field in opener.fields if field.key_id != key_id} == {State.OPENED}
    verification = shop.verify()
    assert (verification.findings, verification.erased) == ([], 5)
    [ordered], [done] = shop.said("piperoll.key-destruction"), shop.said("piperoll.key-destroyed")
    assert (ordered["data"]["key"], ordered["data"]["rows"], done["data"]["key"]) == (
        key_id,
        "erased",
        key_id,
    )
    assert done["data"]["destroyed"] == certificate["key"]["destroyed"]
    assert ordered["data"]["request"] == certificate["request"]

    status, out, said = shop.run(erase.app, "--subject", ANN, "--reason", "left", "--key-only", "--yes")
    assert status == 0, said
    assert "no event; the key alone" in out
    status, out, said = shop.run(opening.app, shop.ids()["e-3"])
    assert (status, "destroyed, its key was destroyed" in said, ANN in out) == (0, True, False)
    assert shop.run(erase.app, "--subject", ANN, "--reason", "left", "--key-only", "--yes")[0] == 2

    # whoever comes back has another key, a repeat another token, and an ingest without the folder takes nothing declared
    feeder.wait_until(lambda: again(shop, 10) not in (None, key_id), timeout=10, what="a new key")
    before = query.value(
        shop.database.reporter_dsn, "SELECT count(*) FROM audit.record WHERE kind IN (1, 2, 3)"
    )
    repeats = json.dumps([event(3, ANN), event(1, JO, subject=JO, partitionkey=JO)])
    assert shop.ingest.post("/v1/events", content=repeats, headers=BATCH).status_code == 202
    shop.wait(before + 2)
    tags = "SELECT ai_tags FROM audit_events WHERE event_id = 'e-3' ORDER BY id DESC LIMIT 1"
    assert "identity:conflict" in query.value(shop.database.reporter_dsn, tags)
    assert query.value(shop.database.reporter_dsn, "SELECT count(*) FROM audit.record WHERE kind = 2") == 2
    shop.keys.rename(shop.keys.with_name("away"))
    assert (
        shop.ingest.post("/v1/events", content=json.dumps(event(99, "new")), headers=STRUCTURED).status_code
        == 503
    )
    feeder.wait_until(
        lambda: shop.ingest.client.get("/readyz").status_code == 503, timeout=10, what="not ready"
    )
    shop.keys.with_name("away").rename(shop.keys)
    feeder.wait_until(lambda: shop.ingest.client.get("/readyz").status_code == 200, timeout=10, what="ready")
    assert shop.verify().findings == []


def again(shop, number):
    shop.ingest.post("/v1/events", content=json.dumps(event(number, JO)), headers=STRUCTURED)
    return SubjectKeys(shop.keys, create=False).find(JO)
