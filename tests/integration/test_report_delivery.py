"""Editions by mail, to a webhook and into a bucket: real servers, each delivery once or said to be perhaps twice, never none."""

import asyncio
import base64
import io
import json
import os
import re
import zipfile
from collections import Counter
from hashlib import sha256
from html import escape
from urllib.request import urlopen

import asyncpg
import boto3
import pytest

from services.common.errors import TransientError
from services.reporter.deliver.editions import s3
from services.reporter.deliver.editions.mail import MOST_BYTES
from services.reporter.deliver.editions.outlets import outlet_for
from services.reporter.deliver.editions.parcel import Letter, Parcel
from services.reporter.formats import FORMATS
from services.reporter.runs import event_logs
from services.reporter.runs.by_hand import Wanted, build_by_hand
from services.reporter.runs.configuration import Configuration
from services.reporter.runs.ledger import Ledger
from services.reporter.runs.own_events import SystemTopic
from services.reporter.verify import NO_EVIDENCE
from services.writer.sealer.key import read_keys
from services.writer.sealer.settings import SealerSettings
from tests.audit_tables import fill
from tests.builders import own_event
from tests.certificates import Authority
from tests.chain_rows import START_US, ChainRows
from tests.report_runs import Reporting, schedules_file
from tests.standins.receivers import Mailbox, Webhook
from tests.standins.s3_server import S3Server
from tests.unit.test_standalone_verifier import standalone
from tests.writing import Asked, Producer, read_all

HOUR_US = 3_600_000_000
HOSTILE = "<script>alert(1)</script>\r\nBcc: all@example.org"


@pytest.fixture
def mailbox(tmp_path, monkeypatch):
    authority = Authority("reports test")
    pair = authority.sign("mail", addresses=("127.0.0.1",))
    made = Mailbox(*pair.save(tmp_path, "mail"))
    (tmp_path / "authority.pem").write_text(authority.certificate)
    variables = {
        "REPORT_SMTP_HOST": "127.0.0.1",
        "REPORT_SMTP_PORT": str(made.port),
        "REPORT_SMTP_CAFILE": str(tmp_path / "authority.pem"),
        "REPORT_SMTP_USER": Mailbox.USER,
        "REPORT_SMTP_PASSWORD": Mailbox.PASSWORD,
        "REPORT_SMTP_FROM": "reports@example.org",
        "REPORT_WEBHOOK_SECRET": "shared",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    yield made
    made.close()


@pytest.fixture
def hook():
    made = Webhook(500, 200)
    yield made
    made.close()


@pytest.fixture
async def october(database):
    chain = ChainRows(step_us=HOUR_US)
    for at in range(40):
        chain.event(
            type=HOSTILE if at == 3 else "user_login",
            time_us=START_US + at * HOUR_US,
            risk="high" if at == 3 else "low",
        )
    await fill(database.admin_dsn, [chain])


def reporter(kafka, database, tmp_path, *recipients, formats="html, pdf, json", proof_wait_s=0):
    told = ", ".join(
        f'{{name: r{at}, target: "{target}", detail: {detail}}}'
        for at, (target, detail) in enumerate(recipients)
    )
    file = schedules_file(
        tmp_path,
        f"name: monthly, every: monthly, first: 2026-10-01, formats: [{formats}], recipients: [{told}]",
    )
    return Reporting(kafka, database.reporter_dsn, tmp_path, file, proof_wait_s=proof_wait_s)


def counting(write_log, folders):
    """The same, and the folders that it wrote to."""

    async def counted(selection, folder):
        folders.append(folder)
        return await write_log(selection, folder)

    return counted


async def test_one_edition_goes_out_by_every_way_and_each_receipt_is_on_record(
    kafka, database, october, tmp_path, monkeypatch, mailbox, hook
):
    with S3Server(tmp_path / "s3.log") as server:
        for name, value in {
            "ENDPOINT": server.url,
            "ACCESS_KEY_ID": "test",
            "SECRET_ACCESS_KEY": "secret",
        }.items():
            monkeypatch.setenv(f"REPORT_S3_{name}", value)
        bucket = boto3.client(
            "s3",
            endpoint_url=server.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="secret",
        )
        bucket.create_bucket(Bucket="reports")
        one = reporter(
            kafka,
            database,
            tmp_path,
            ("mail:jo@example.org", "pseudonymous"),
            (f"webhook:{hook.url}", "full"),
            ("s3:reports/audit", "full"),
        )
        written = []
        monkeypatch.setattr(event_logs, "write_log", counting(event_logs.write_log, written))
        monkeypatch.setattr(s3, "PUT_AT_ONCE", 1000)  # larger ones go in parts
        await one.turn("2026-11-01T02:00Z")
        assert len(hook.requests) == 1  # refused
        assert len(written) == 1  # for the edition and two recipients in full detail
        assert not any(folder.exists() for folder in written)
        await one.turn("2026-11-01T02:10Z")
        keys = [item["Key"] for item in bucket.list_objects_v2(Bucket="reports")["Contents"]]
        document = bucket.get_object(Bucket="reports", Key="audit/monthly/2026-10/1/report.json")[
            "Body"
        ].read()
    one.close()
    assert sorted(key.rpartition("/")[2] for key in keys) == [
        "edition.json",
        "events.csv",
        "events.jsonl",
        "report.html",
        "report.json",
        "report.pdf",
    ]

    (message,) = mailbox.messages
    assert mailbox.recipients == [["jo@example.org"]]
    assert message["Subject"] == "Report monthly/2026-10/1: verified"
    assert message["Bcc"] is None
    assert message["Message-ID"].endswith("@reports.piperoll>")
    text = message.get_body(("plain",)).get_content()
    assert "40 events" in text
    assert "1 of high or critical risk" in text
    assert "Hash of this edition (SHA-256): " in text
    page = message.get_body(("html",)).get_content()
    assert "<script" not in page
    attached = {part.get_filename(): part.get_content() for part in message.iter_attachments()}
    assert attached["report.pdf"].startswith(b"%PDF")
    with zipfile.ZipFile(io.BytesIO(attached["report.html.zip"])) as file:
        assert file.namelist() == ["report.html"]
        shown = file.read("report.html").decode()
    edition, copy = sha256(document).hexdigest(), sha256(attached["report.json"]).hexdigest()
    assert f"Hash of this edition (SHA-256): {edition}" in text
    assert f"Hash of this copy of it (pseudonymous): {copy}" in text
    assert f"signs the edition with this SHA-256: <code>{edition}</code>" in shown
    assert f"This copy of it (pseudonymous) has the SHA-256: <code>{copy}</code>" in shown
    assert b"user-3" not in attached["report.json"]  # pseudonymous
    assert b"user-3" in document

    first, second = hook.requests
    assert first[0]["Idempotency-Key"] == second[0]["Idempotency-Key"]
    assert second[0]["Piperoll-Signature"].startswith("t=")
    said = json.loads(second[1])
    assert said["sha256"] == sha256(document).hexdigest()
    files = {file["name"]: base64.b64decode(file["content_base64"]) for file in said["files"]}
    assert files["report.json"] == document

    events = [json.loads(value) for value in read_all(kafka, kafka.topics.system, 8)]
    filed = Counter(event["data"]["recipient"] for event in events if event["type"].endswith(".files"))
    assert filed == {"r0": 1, "r1": 2, "r2": 1}  # the hook refused once
    receipts = {
        event["data"]["recipient"]: event["data"]
        for event in events
        if event["type"] == "piperoll.report.delivery"
    }
    assert {name: data["state"] for name, data in receipts.items()} == {
        "r0": "sent",
        "r1": "sent",
        "r2": "sent",
    }
    assert receipts["r1"]["target"].endswith("/…")
    assert "secret-in-url" not in json.dumps(receipts)


def fetched(link):
    with urlopen(link, timeout=10) as answer:
        return answer.read()


async def test_what_is_too_large_for_mail_is_behind_a_link_that_expires(tmp_path, monkeypatch, mailbox):
    files = []
    for name, size in (("report.pdf", 1000), ("evidence.zip", MOST_BYTES)):
        files.append(tmp_path / name)
        files[-1].write_bytes(os.urandom(size))
    letter = Letter("Report", "text", "<body>text</body>")
    parcel = Parcel("<a1@reports.piperoll>", "jo@example.org", "monthly/2026-10/1", letter, files)
    with S3Server(tmp_path / "s3.log") as server:
        for name, value in {
            "S3_ENDPOINT": server.url,
            "S3_ACCESS_KEY_ID": "test",
            "S3_SECRET_ACCESS_KEY": "secret",
            "LINK_BUCKET": "lent/reports",
            "LINK_DAYS": "1",
        }.items():
            monkeypatch.setenv(f"REPORT_{name}", value)
        outlet, began = outlet_for("mail", lambda: START_US), []

        async def begin():
            began.append(1)

        with pytest.raises(TransientError, match="lent"):  # there is no such bucket: nothing goes out
            await outlet.deliver(parcel, begin)
        assert not began
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "secret"}
        boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", **keys).create_bucket(
            Bucket="lent"
        )
        receipt = await outlet.deliver(parcel, begin)
        (message,) = mailbox.messages
        text = message.get_body(("plain",)).get_content()
        link = re.search(r"evidence.zip: (http\S+)", text)[1]
        assert "/lent/reports/monthly/2026-10/1/a1/evidence.zip?" in link
        assert "X-Amz-Expires=86400" in link
        assert escape(link) in message.get_body(("html",)).get_content()
        assert await asyncio.to_thread(fetched, link) == files[1].read_bytes()
    assert (receipt["attached"], receipt["left_out"], receipt["linked"]) == (
        ["report.pdf"],
        ["evidence.zip"],
        True,
    )
    assert "X-Amz" not in json.dumps(receipt)


async def test_a_crash_after_the_servers_yes_sends_again_under_the_same_name_and_says_so(
    kafka, database, october, tmp_path, monkeypatch, mailbox
):
    one = reporter(kafka, database, tmp_path, ("mail:jo@example.org", "figures"))

    async def crash(*_arguments):
        raise TransientError("the database is away")

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "note_sent", crash)
        with pytest.raises(TransientError):
            await one.turn("2026-11-01T02:00Z")
    await one.turn("2026-11-01T02:10Z")
    await one.turn("2026-11-01T02:20Z")
    one.close()
    first, second = mailbox.messages
    assert first["Message-ID"] == second["Message-ID"]
    events = [json.loads(value) for value in read_all(kafka, kafka.topics.system, 4)]
    assert [event["data"]["state"] for event in events if event["type"] == "piperoll.report.delivery"] == [
        "maybe-twice"
    ]


async def test_a_server_that_refuses_gets_it_later_once(
    kafka, database, october, tmp_path, monkeypatch, mailbox
):
    """And where nobody gets an edition in full detail, its event log is not written."""
    written = []
    monkeypatch.setattr(event_logs, "write_log", counting(event_logs.write_log, written))
    mailbox.refuse = 1
    one = reporter(kafka, database, tmp_path, ("mail:jo@example.org", "figures"))
    await one.turn("2026-11-01T02:00Z")
    assert mailbox.messages == []
    await one.turn("2026-11-01T02:10Z")
    await one.turn("2026-11-01T02:20Z")
    one.close()
    assert len(mailbox.messages) == 1
    assert written == []


def mailed(message, folder):
    """The attachments of a message as somebody saves and unpacks them."""
    folder.mkdir()
    for part in message.iter_attachments():
        (folder / part.get_filename()).write_bytes(part.get_payload(decode=True))
    with zipfile.ZipFile(folder / "report.html.zip") as file:
        file.extractall(folder)
    (folder / "report.html.zip").unlink()
    return folder


def hooked(body, folder):
    folder.mkdir()
    for file in json.loads(body)["files"]:
        (folder / file["name"]).write_bytes(base64.b64decode(file["content_base64"]))
    return folder


async def sealed_log(kafka, database, start_service, tmp_path):
    """A writer and a sealer that run, something that is sealed; the policy of the sealer's key."""
    with Producer(kafka) as producer:
        producer.send(kafka.topics.system, own_event())
    start_service("writer", WRITER_BATCH_AGE_MS="20")
    home = tmp_path / "sealer"
    start_service(
        "writer", "sealer", DATABASE_URL=database.sealer_dsn, SEALER_DIR=str(home), SEALER_INTERVAL_S="0.2"
    )
    connection = await asyncpg.connect(database.admin_dsn)
    try:
        await Asked(connection).until("SELECT count(*) > 0 FROM audit.checkpoint WHERE tree > 0", True)
    finally:
        await connection.close()
    settings = SealerSettings(folder=home)
    return f"log {read_keys(settings).current.verifier.vkey()}\nquorum none\n".encode()


async def test_every_file_of_every_recipient_is_proved_by_the_record_of_its_hashes(
    kafka, database, start_service, tmp_path, mailbox, hook
):
    """With a writer and a sealer that run; and those of an edition made by hand."""
    policy = await sealed_log(kafka, database, start_service, tmp_path)
    one = reporter(
        kafka,
        database,
        tmp_path,
        ("mail:jo@example.org", "full"),
        (f"webhook:{hook.url}", "figures"),
        ("directory:archive", "pseudonymous"),
        formats="html, pdf, md, json, pack",
        proof_wait_s=30,
    )
    hook.answers = [200]
    await one.turn("2026-11-03T02:00Z")
    one.close()
    folders = [
        mailed(mailbox.messages[0], tmp_path / "mailed"),
        hooked(hook.requests[0][1], tmp_path / "hooked"),
        one.folder / "archive/monthly/2026-10/1",
    ]
    built = await build_by_hand(
        database.reporter_dsn,
        Wanted("2026-10", "Ada"),
        tmp_path / "built",
        list(FORMATS),
        configuration=Configuration(schedules=[]),
        evidence=NO_EVIDENCE,
        topic=(topic := SystemTopic(kafka)),
        patience_s=30,
    )
    topic.close()
    assert (built.unrecorded, built.unproved) == (None, None)
    folders.append(tmp_path / "built")
    for folder in folders:
        told = json.loads((folder / "edition.json").read_text())
        assert told["proof"] == "edition.piperoll-proof", told
        proof = (folder / "edition.piperoll-proof").read_bytes()
        files = {
            path.name for path in folder.iterdir() if path.suffix in (".html", ".pdf", ".md", ".zip", ".json")
        }
        assert files == {one_of.file for one_of in FORMATS.values()} | {"edition.json"}
        for name in files - {"edition.json"}:
            try:
                found = standalone.check_edition(str(folder / name), proof, policy)
            except standalone.Refused as error:
                raise AssertionError(f"{folder.name}/{name}") from error
            assert found["file"] in (name, "the edition itself, as JSON")
            assert found["edition"] == told["edition"]
        (folder / "report.md").write_bytes((folder / "report.md").read_bytes() + b" ")
        with pytest.raises(standalone.Refused, match="not as it was recorded"):
            standalone.check_edition(str(folder / "report.md"), proof, policy)
