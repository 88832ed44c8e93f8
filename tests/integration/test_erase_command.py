"""`piperoll erase` on the running pipeline: a person's events go everywhere that we reach, and the rest is listed."""

import gzip
import json

import pytest
from kafka import KafkaProducer
from typer.testing import CliRunner

from deploy.local.postgres import run_async
from services.cli.erase import app
from services.cli.group_offsets import open_group
from services.reporter.verify import verify_database
from tests import query
from tests.builders import annotation
from tests.fault import feeder
from tests.orders import erasure
from tests.writing import Producer

SMALL = {"ENRICHER_COMMIT_INTERVAL": "0.2", "WRITER_BATCH_AGE_MS": "20"}
ONE = pytest.mark.parametrize("kafka", [{"partitions": 1}], indirect=True)


def login(number: int, user: str, **more) -> bytes:
    data = {"user_id": user, "note": more.pop("note", "")}
    event = {"specversion": "1.0", "id": f"e-{number}", "source": "/shop", "type": "user_login"} | more
    return json.dumps(event | {"data": data}, ensure_ascii=False).encode()


class Shop:
    """The pipeline with one partition, and what tests ask of it."""

    def __init__(self, kafka, database, producer):
        self.kafka, self.database, self.producer = kafka, database, producer

    def send(self, *events: bytes) -> None:
        for event in events:
            self.producer.send(self.kafka.topics.events, event)

    def wait(self, count: int, kinds: str = "1, 2, 3") -> None:
        sql = f"SELECT count(*) FROM audit.record WHERE kind IN ({kinds})"
        feeder.wait_until(
            lambda: query.value(self.database.reporter_dsn, sql) >= count, timeout=60, what=f"{count} records"
        )

    def bodies(self) -> str:
        """All payload bytes of events and annotations as text."""
        rows = query.rows(
            self.database.reporter_dsn,
            "SELECT p.body, p.enrich FROM audit.payload p JOIN audit.record r USING (chain_no, seq) WHERE r.kind <> 8",
        )
        return "\n".join((part or b"").decode("utf-8", "replace") for row in rows for part in row)

    def verify(self):
        return run_async(verify_database(self.database.reporter_dsn, processes=1))


@pytest.fixture
def shop(kafka, database, start_service, tmp_path):
    with open_group(kafka):
        pass
    start_service("enricher", **SMALL).wait_ready()
    start_service("writer", **SMALL).wait_ready()
    with Producer(kafka) as producer:
        yield Shop(kafka, database, producer)


@pytest.fixture
def erase(kafka, database, monkeypatch, tmp_path):
    """Runs `piperoll erase ARGUMENTS`; returns (exit status, stdout, stderr)."""
    variables = {
        "PIPEROLL_HOME": str(tmp_path / "home"),
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "TOPIC_PREFIX": kafka.topic_prefix,
        "DATABASE_URL": database.reporter_dsn,
        "REPORT_DIR": str(tmp_path / "reports"),
    }
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        result = CliRunner().invoke(app, list(arguments))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.stdout, result.stderr

    return run


def reports_in(folder):
    """Reports that were delivered: three that name the person, or may."""
    reports = folder / "reports"
    reports.mkdir()
    (reports / "a.html").write_text("jo@example.com logged in")
    (reports / "b.html").write_text("nobody we know")
    (reports / "c.jsonl.gz").write_bytes(gzip.compress(b"jo@example.com"))
    (reports / "d.pdf").write_bytes(b"%PDF")
    return reports


@ONE
def test_a_person_is_erased_everywhere_and_the_rest_is_listed(shop, erase, tmp_path):
    shop.send(
        login(0, "user-1"),
        login(1, "jo@example.com"),
        login(2, "user-2", subject="jo@example.com"),
        login(3, "user-3", note="for jo@example.com, by phone"),
        login(4, "joanna@example.com"),
        login(1, "jo@example.com"),
        b"\xff jo@example.com",
    )
    shop.wait(7)
    topic_id = shop.producer.topic_id(shop.kafka.topics.events)
    shop.producer.send(
        shop.kafka.topics.annotations, annotation(topic_id, 0, 1, summary="jo@example.com was here")
    )
    shop.wait(1, "7")
    reports = reports_in(tmp_path)

    status, out, _ = erase("--subject", "jo@example.com", "--dry-run")
    assert (status, out.splitlines()[0]) == (0, "3 events, 1 repeat, 1 unreadable message, 1 AI reading"), out
    assert "jo@example.com was here" in shop.bodies()

    status, out, said = erase(
        "--subject", "jo@example.com", "--reason", "asked for", "--ticket", "T-1", "--yes", "--json"
    )
    assert status == 0, said
    certificate = json.loads(out)
    assert "jo@" not in out.replace(str(tmp_path), "")
    assert sorted((one["kind"], one["source_offset"]) for one in certificate["erased"]) == [
        ("annotation", 0),
        ("duplicate", 5),
        ("event", 1),
        ("event", 2),
        ("event", 3),
        ("poison", 6),
    ]
    assert [record["named"] for record in certificate["records"]] == [6]
    places = {copy["where"]: copy for copy in certificate["copies"]}
    for topic in (shop.kafka.topics.events, shop.kafka.topics.enriched, shop.kafka.topics.dead_letters):
        assert places[topic]["gone_by"] is not None
    named = {where for where in places if str(reports) in where}
    assert named == {str(reports / name) for name in ("a.html", "c.jsonl.gz", "d.pdf")}

    assert "jo@example.com" not in shop.bodies()
    assert "joanna@example.com" in shop.bodies()
    verification = shop.verify()
    assert (verification.findings, verification.erased) == ([], 6)
    own = query.rows(
        shop.database.reporter_dsn,
        "SELECT p.body FROM audit.payload p JOIN audit.record r USING (chain_no, seq) WHERE r.kind = 8",
    )
    assert not any(b"jo@" in body for (body,) in own)
    assert any(b'"ticket":"T-1"' in body for (body,) in own)

    status, out, _ = erase("--subject", "jo@example.com", "--reason", "again", "--yes")
    assert (status, out) == (0, "nothing found\n")


@ONE
def test_fields_and_ids_choose_what_goes(shop, erase):
    shop.send(login(0, "ann"), login(1, "bob", subject="ann"), login(2, "cid", note="ann"), login(3, "dörte"))
    shop.wait(4)
    count = lambda *arguments: len(json.loads(erase(*arguments, "--dry-run", "--json")[1])["found"])  # noqa: E731
    assert count("--subject", "ann", "--field", "actor") == 1
    assert count("--subject", "ann", "--field", "subject") == 1
    assert count("--subject", "ann") == 3
    assert count("--subject", "dörte") == 1
    assert count("--subject", "100% nobody") == 0
    event = query.value(shop.database.reporter_dsn, "SELECT id FROM audit_events WHERE kafka_offset = 2")
    status, out, said = erase("--id", str(event), "--reason", "asked for", "--yes")
    assert status == 0, said
    assert "To do:" in out
    assert count("--subject", "ann") == 2
    assert shop.verify().erased == 1


@ONE
def test_it_waits_for_what_stands_on_the_topics_and_is_not_recorded_yet(
    kafka, database, start_service, erase
):
    """Enricher and writer begin only after the request; a message of an aborted transaction is not waited for."""
    with open_group(kafka):
        pass
    with Producer(kafka) as producer:
        producer.send(kafka.topics.events, login(0, "ann"))
        aborted = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, transactional_id="t", acks="all")
        aborted.init_transactions()
        aborted.begin_transaction()
        aborted.send(kafka.topics.events, login(1, "ann"))
        aborted.flush()
        aborted.abort_transaction()
        aborted.close()
        status, _, said = erase("--subject", "ann", "--reason", "asked for", "--yes", "--wait", "1")
        assert status == 2
        assert "the enricher has" in said
        start_service("enricher", **SMALL)
        feeder.wait_until(
            lambda: feeder.total(kafka, kafka.topics.enriched) >= 1, timeout=60, what="enriched events"
        )
        status, _, said = erase("--subject", "ann", "--reason", "asked for", "--yes", "--wait", "5")
        assert status == 2
        assert "the writer has" in said
        start_service("writer", **SMALL)
        status, out, said = erase("--subject", "ann", "--reason", "asked for", "--yes", "--json")
    assert status == 0, said
    assert [one["source_offset"] for one in json.loads(out)["erased"]] == [0]


WRONG = [
    ([], "say which"),
    (["--subject", "x", "--id", "1", "--reason", "y"], "say which"),
    (["--subject", "x"], "say why"),
    (["--subject", "Jo", "--reason", "jo asked"], "names the subject"),
    (["--subject", "x", "--field", "name", "--reason", "y"], "--field takes"),
    (["--id", "5", "--reason", "y", "--yes"], "is the id of no event"),
    (["--subject", " ", "--reason", "y", "--yes"], "empty"),
]


@pytest.mark.parametrize(("arguments", "text"), WRONG)
def test_what_does_not_fit_together_is_said(erase, arguments, text):
    status, _, said = erase(*arguments)
    assert status == 2
    assert text in said


@ONE
def test_an_order_that_somebody_else_gives_is_carried_out_as_well(shop):
    """The topic's access rights decide who may: the record says who did."""
    shop.send(login(0, "ann"))
    shop.wait(1)
    topic_id = shop.producer.topic_id(shop.kafka.topics.events)
    shop.producer.send(shop.kafka.topics.system, erasure([(topic_id, 0, 0)]).value)
    feeder.wait_until(lambda: "ann" not in shop.bodies(), timeout=30, what="the erasure")
    assert shop.verify().erased == 1
