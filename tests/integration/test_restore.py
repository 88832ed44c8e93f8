"""`piperoll restore`: what is damaged comes back from the topic, an export or the published bundles, if it fits."""

import json
import os
import subprocess

import asyncpg
import pytest
from typer.testing import CliRunner

from deploy.local.postgres import execute, run_async
from deploy.local.postgres_programs import find_programs
from schemas.verification.findings import Change, Part
from services.cli.evidence import app as evidence
from services.cli.group_offsets import open_group
from services.cli.restore import app
from services.reporter.verify import verify_database
from tests import query
from tests.audit_tables import tamper
from tests.builders import annotation, structured
from tests.fault import feeder
from tests.orders import erasure, order
from tests.writing import Producer

ONE = pytest.mark.parametrize("kafka", [{"partitions": 1}], indirect=True)
COUNT = 300


class Site:
    """A chain of 300 events, one of an annotation, the writer running."""

    def __init__(self, kafka, database, producer, log, tmp_path):
        self.kafka, self.database, self.producer, self.log = kafka, database, producer, log
        self.tmp_path = tmp_path

    def verify(self):
        return run_async(verify_database(self.database.reporter_dsn, processes=1))

    def damage(self, statements: str) -> None:
        run_async(tamper(self.database.admin_dsn, statements))
        self._guard_again()

    def _guard_again(self) -> None:
        """The tamperer switched the triggers off; the database's owner has them on again."""
        names = query.rows(
            self.database.admin_dsn,
            "SELECT t.tgrelid::regclass::text, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
            " WHERE NOT t.tgisinternal AND c.relnamespace = 'audit'::regnamespace",
        )
        for table, trigger in names:
            execute(self.database.admin_dsn, f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}")

    def restore(self, *arguments):
        result = CliRunner().invoke(app, [*arguments, "--json"])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, json.loads(result.stdout) if result.stdout else result.stderr

    def export(self):
        path = self.tmp_path / "export.jsonl"
        result = CliRunner().invoke(evidence, ["export", "--no-record", "--out", str(path)])
        assert result.exit_code == 0, result.stderr
        return path

    def entries(self):
        """The chain's entry bundles as the sealer publishes them."""
        rows = query.rows(
            self.database.reporter_dsn,
            "SELECT c.topic, c.chain_id, r.leaf FROM audit.record r JOIN audit.chain c USING (chain_no)"
            " WHERE chain_no = 1 ORDER BY seq",
        )
        folder = self.tmp_path / "log" / rows[0][0] / "0" / rows[0][1].hex()[:16] / "tile" / "entries"
        for n, start in enumerate(range(0, len(rows), 256)):
            leaves = [leaf for _, _, leaf in rows[start : start + 256]]
            path = folder / f"{n:03d}" if len(leaves) == 256 else folder / f"{n:03d}.p" / str(len(leaves))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in leaves))
        return self.tmp_path / "log"


@pytest.fixture
def site(kafka, database, start_service, tmp_path, monkeypatch):
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
    with Producer(kafka) as producer:
        [log] = producer.logs(1)
        producer.enriched(0, (log.event(offset, offset - 1) for offset in range(COUNT - 1)))
        same = structured("/apps/test", "id-7", "data_export", 8)  # a conflict: the writer adds a tag
        producer.enriched(0, [log.event(COUNT - 1, identifier="id-7", value=same)])
        start_service("writer", WRITER_BATCH_AGE_MS="20").wait_ready()
        sql = "SELECT count(*) FROM audit.record WHERE kind IN (1, 7)"
        feeder.wait_until(
            lambda: query.value(database.reporter_dsn, sql) == COUNT, what="the events", every=0.2
        )
        producer.send(kafka.topics.annotations, annotation(log.topic_id, 0, 5))
        feeder.wait_until(
            lambda: query.value(database.reporter_dsn, sql) == COUNT + 1, what="the annotation", every=0.2
        )
        yield Site(kafka, database, producer, log, tmp_path)


REASON = ("--all-damaged", "--reason", "found by the nightly verification")
EDITED = "UPDATE audit.payload SET body = body || '\\x00' WHERE chain_no = 1 AND seq IN (9, 300)"
GONE = "DELETE FROM audit.payload WHERE chain_no = 1 AND seq BETWEEN 20 AND 40"
ENRICHMENT = "UPDATE audit.payload SET enrich = 'x' WHERE chain_no = 1 AND seq = 50"
MOVED = "UPDATE audit.payload SET appended_at = appended_at - interval '1 s' WHERE chain_no = 1 AND seq = 60"


@ONE
def test_payloads_come_back_from_the_topic(site):
    """Edited, deleted, moved, and one to which the writer had added a tag (record 300)."""
    site.damage(f"{EDITED}; {GONE}; {ENRICHMENT}; {MOVED}")
    assert not site.verify().good
    status, said = site.restore("--all-damaged", "--dry-run")
    assert (status, len(said["damaged"]), len(said["offered"])) == (1, 25, 25)
    assert not site.verify().good
    status, said = site.restore(*REASON)
    assert (status, said["still_damaged"], said["good"]) == (0, [], True), said
    assert len(said["records"]) == 1
    assert site.verify().findings == []
    assert query.value(site.database.admin_dsn, "SELECT count(*) FROM audit.restoration") == 0


@ONE
def test_records_come_back_from_the_published_bundles_and_from_an_export(site):
    """Leaves edited with and without their hash, a column, rows deleted in the middle and at the end."""
    published, exported = site.entries(), site.export()
    columns = "leaf = set_byte(leaf, 95, 7)"
    rehashed = f"{columns}, record_hash = sha256('\\x00'::bytea || set_byte(leaf, 95, 7))"
    site.damage(
        f"UPDATE audit.record SET {columns} WHERE chain_no = 1 AND seq IN (3, 4);"
        f"UPDATE audit.record SET {rehashed} WHERE chain_no = 1 AND seq = 30;"
        "UPDATE audit.record SET identity_hash = 5 WHERE chain_no = 1 AND seq = 70;"
        "UPDATE audit.record SET event_time_us = 5 WHERE chain_no = 1 AND seq = 71;"
        "DELETE FROM audit.record WHERE chain_no = 1 AND seq BETWEEN 250 AND 260;"
        "DELETE FROM audit.payload WHERE chain_no = 1 AND seq BETWEEN 255 AND 260;"
        "DELETE FROM audit.record WHERE chain_no = 1 AND seq = 300"
    )
    status, said = site.restore(*REASON, "--entries", str(published))
    assert (status, said["still_damaged"]) == (0, []), said
    number = "(SELECT chain_no FROM audit.chain WHERE topic LIKE '%.annotations')"
    site.damage(
        f"DELETE FROM audit.record WHERE chain_no = {number} AND seq = 1; DELETE FROM audit.payload WHERE chain_no = {number}"
    )
    status, said = site.restore(*REASON, "--no-kafka", "--export", str(exported))
    assert (status, said["still_damaged"]) == (0, []), said
    site.producer.enriched(0, [site.log.event(COUNT)])
    sql = "SELECT count(*) FROM audit.record WHERE kind = 1"
    feeder.wait_until(
        lambda: query.value(site.database.reporter_dsn, sql) == COUNT + 1, what="the next record"
    )
    assert site.verify().findings == []


@ONE
def test_only_the_named_records_are_put_back(site):
    site.damage(f"{EDITED}; {ENRICHMENT}")
    status, said = site.restore("--chain", "1", "--seq", "9", "--reason", "x")
    assert (status, said["still_damaged"], said["good"]) == (0, [], False)
    assert {finding.seq for finding in site.verify().findings} == {50, 300}


@ONE
def test_what_was_erased_stays_erased_and_wrong_bytes_stay_out(site):
    exported = site.export()
    site.producer.send(site.kafka.topics.system, erasure([(site.log.topic_id, 0, 8)]).value)
    feeder.wait_until(lambda: site.verify().erased == 1, what="the erasure")
    site.damage(EDITED)
    wrong = site.tmp_path / "wrong.jsonl"
    lines = [json.loads(line) for line in exported.read_text().splitlines()]
    for line in lines:
        line["payload_salt"] = os.urandom(32).hex()
    wrong.write_text("\n".join(map(json.dumps, lines)))
    status, said = site.restore(*REASON, "--no-kafka", "--export", str(wrong))
    assert (status, len(said["offered"]), len(said["still_damaged"])) == (1, 1, 1)
    assert {(one.change, one.part, one.seq) for one in site.verify().findings} == {
        (Change.EDITED, Part.PAYLOAD, 300)
    }


async def stage(dsn, batch, rows):
    connection = await asyncpg.connect(dsn)
    try:
        await connection.executemany(
            "INSERT INTO audit.restoration (batch, chain_no, seq, what, salt, body, enrich_salt, enrich)"
            " VALUES ($1, $2, $3, 'payload', $4, $5, $6, $7)",
            [(batch, *row) for row in rows],
        )
    finally:
        await connection.close()


@ONE
def test_a_restore_that_names_erased_records_puts_nothing_back(site):
    """Ordered by hand, past the command's own look: the database refuses, and forgets the bytes."""
    sql = "SELECT chain_no, seq, salt, body, enrich_salt, enrich FROM audit.payload WHERE chain_no = 1 AND seq IN (9, 10)"
    rows = query.rows(site.database.admin_dsn, sql)
    chain_id = query.value(site.database.admin_dsn, "SELECT chain_id FROM audit.chain WHERE chain_no = 1")
    site.producer.send(site.kafka.topics.system, erasure([(site.log.topic_id, 0, 8)]).value)
    feeder.wait_until(lambda: site.verify().erased == 1, what="the erasure")
    site.damage("DELETE FROM audit.payload WHERE chain_no = 1 AND seq = 10")
    batch = os.urandom(16)
    run_async(stage(site.database.operator_dsn, batch, rows))
    named = [{"chain_id": chain_id.hex(), "seq": seq, "what": "payload"} for seq in (9, 10)]
    data = {"by": "t", "reason": "t", "requested_us": 1, "request": "r", "part": 1, "parts": 1}
    message = order("piperoll.restore", data | {"source": "hand", "batch": batch.hex(), "records": named})
    site.producer.send(site.kafka.topics.system, message.value)
    feeder.wait_until(
        lambda: query.value(site.database.admin_dsn, "SELECT count(*) FROM audit.restoration") == 0,
        what="the order",
    )
    verification = site.verify()
    assert (verification.findings, verification.erased) == ([], 1)


@ONE
def test_staged_bytes_go_with_an_erasure(site):
    sql = "SELECT chain_no, seq, salt, body, enrich_salt, enrich FROM audit.payload WHERE chain_no = 1 AND seq IN (9, 10)"
    run_async(stage(site.database.operator_dsn, os.urandom(16), query.rows(site.database.admin_dsn, sql)))
    site.producer.send(site.kafka.topics.system, erasure([(site.log.topic_id, 0, 8)]).value)
    feeder.wait_until(lambda: site.verify().erased == 1, what="the erasure")
    assert query.rows(site.database.admin_dsn, "SELECT seq FROM audit.restoration") == [(10,)]


WRONG = [
    ([], "say which"),
    (["--all-damaged", "--chain", "1"], "say which"),
    (["--all-damaged"], "say why"),
    (["--chain", "1", "--seq", "x", "--reason", "y"], "--seq takes"),
]


@pytest.mark.parametrize(("arguments", "text"), WRONG)
def test_what_does_not_fit_together_is_said(arguments, text):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert text in result.stderr


@ONE
def test_a_dump_restored_elsewhere_verifies_and_an_erasure_since_is_missed_in_it(site, postgres_server):
    """pg_dump, createdb, pg_restore, `piperoll verify`: as the failure model describes it."""
    programs = find_programs().folder
    dump = site.tmp_path / "dump"
    command = [programs / "pg_dump", "--format=custom", "--file", dump, site.database.admin_dsn]
    subprocess.run(command, check=True, capture_output=True)
    name = f"{site.database.name}b"
    execute(postgres_server, f"CREATE DATABASE {name}")
    try:
        address = site.database.admin_dsn.rpartition("/")[0] + f"/{name}"
        restored = subprocess.run(
            [programs / "pg_restore", "--exit-on-error", "--dbname", address, dump],
            capture_output=True,
            text=True,
            check=False,
        )
        assert restored.returncode == 0, restored.stderr
        reporter = site.database.reporter_dsn.rpartition("/")[0] + f"/{name}"
        verification = run_async(verify_database(reporter, processes=1))
        assert (verification.findings, verification.records) == ([], site.verify().records)
        with pytest.raises(asyncpg.PostgresError, match="refused"):
            execute(address, "DELETE FROM audit.record")
    finally:
        execute(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")
