"""`GET /v1/events/{id}/proof` and receipts of a running ingest."""

import json
import ssl
from hashlib import sha256

import httpx
import pytest

from deploy.local.ports import free_port
from deploy.local.postgres import run_async
from schemas.proof_file import MEDIA_TYPE, decode_proof_file
from services.common.proofs import Offset, Place
from services.common.settings import KafkaSettings
from services.ingest.access import Access
from services.ingest.keys import create_key
from services.ingest.problems import ProblemError
from services.ingest.proofs import Proofs
from services.ingest.reads import Reads
from services.ingest.settings import IngestSettings
from tests.audit_tables import fill, tamper
from tests.certificates import Authority
from tests.chain_rows import ChainRows
from tests.ingest_parts import SHORT, STRUCTURED, ingest_on, messages, topics_on
from tests.sealed_log import SealedLog, store_seals
from tests.unit.test_standalone_verifier import standalone


@pytest.fixture
def log(database):
    """One sealed chain, and a record behind the seal."""
    made = SealedLog(ChainRows(chain_no=1, seed=1).events(20))
    made.seal()
    made.chains[0].event(source="app/späte", id="a/b c")
    run_async(fill(database.admin_dsn, made.chains))
    run_async(store_seals(database.sealer_dsn, made))
    return made


def problem(answer, status, kind):
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["type"] == f"urn:piperoll:problem:{kind}"
    return answer


def test_a_proof_is_served_to_a_key_with_the_scope_read(broker, database, log, tmp_path):
    keys = tmp_path / "keys"
    reads, sends = create_key(keys, "auditor", ["read"]), create_key(keys, "app", ["ingest"])
    some = create_key(keys, "team", ["read"], ["app/s*"])
    variables = {
        "DATABASE_URL": database.reporter_dsn,
        "API_KEYS_FILE": str(keys),
        "INGEST_REQUIRE_KEY": "true",
    }
    with ingest_on(topics_on(broker), tmp_path, **variables) as ingest:

        def get(path, token=reads):
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            return ingest.client.get(path, headers=headers)

        number = Place(1, 7).number
        answer = get(f"/v1/events/{number}/proof")
        assert (answer.status_code, answer.headers["content-type"]) == (200, MEDIA_TYPE)
        found = standalone.check(answer.content, log.policy())
        assert (found["seq"], found["payload"]) == (7, "as recorded")
        assert get("/v1/events/1-6/proof?source=app/shop").content == answer.content
        place = Offset(log.chains[0].topic_id, 0, 6)
        assert get(f"/v1/events/{place}/proof").content == answer.content
        bare = decode_proof_file(get(f"/v1/events/{number}/proof?content=false").content)
        assert (bare.payload, bare.leaf) == (None, log.chains[0].rows[7].leaf)

        late = problem(get("/v1/events/a%2Fb%20c/proof?source=app%2Fsp%C3%A4te"), 503, "not-sealed-yet")
        assert int(late.headers["retry-after"]) > 0
        problem(get("/v1/events/5/proof"), 404, "no-such-record")
        problem(get("/v1/events/x/proof"), 404, "no-such-record")
        problem(get("/v1/events/x/proof?source=app/shop"), 404, "no-such-record")
        problem(get(f"/v1/events/{number}/proof?content=maybe"), 422, "parameter")
        problem(get(f"/v1/events/{number}/proof", None), 401, "unauthorized")
        problem(get(f"/v1/events/{number}/proof", "pr_wrong"), 401, "unauthorized")
        problem(get(f"/v1/events/{number}/proof", sends), 403, "scope-missing")
        problem(get(f"/v1/events/{number}/proof", some), 403, "source-not-allowed")
        problem(get("/v1/events/1/proof?source=other", some), 403, "source-not-allowed")
        assert get("/v1/events/1-6/proof?source=app/shop", some).content == answer.content

        changed = "UPDATE audit.checkpoint SET root = sha256(root) WHERE tree = 1"
        run_async(tamper(database.admin_dsn, changed))
        problem(get(f"/v1/events/{number}/proof"), 500, "not-as-sealed")
        counted = ingest.client.get("/metrics").text
        assert 'piperoll_ingest_requests_total{path="/v1/events/{id}/proof",status="200"}' in counted
        said = [json.loads(message.value) for message in messages(ingest.kafka, ingest.kafka.topics.system)]
        assert {(event["type"], event["source"]) for event in said} == {("piperoll.read", "piperoll/read")}
        reads = [event["data"] for event in said]  # one for each proof that went out, none for the others
        assert [data["by"] for data in reads] == ["key auditor"] * 4 + ["key team"]
        assert [data["range"] for data in reads[:4:3]] == [
            {"record": str(number), "content": True},
            {"record": str(number), "content": False},
        ]
        assert reads[1]["range"] == {"event_id": "1-6", "source": "app/shop", "content": True}
        assert {(data["what"], data["count"]) for data in reads} == {("proof", 1)}


async def test_a_proof_that_cannot_be_put_on_record_does_not_go_out(database, log, tmp_path):
    reads = Reads(KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}"))
    proofs = Proofs(database.reporter_dsn, Access(None, required=False), reads, IngestSettings())
    with pytest.raises(ProblemError) as raised:
        await proofs.answer(None, str(Place(1, 7).number), None, content=True)
    assert (raised.value.status, raised.value.kind) == (503, "not-recorded")
    await proofs.close()


def test_where_no_key_is_required_a_proof_without_one_does_not_say_what_was_recorded(
    broker, database, log, tmp_path
):
    with ingest_on(topics_on(broker), tmp_path, DATABASE_URL=database.reporter_dsn) as ingest:
        answer = ingest.client.get(f"/v1/events/{Place(1, 7).number}/proof")
        assert standalone.check(answer.content, log.policy())["payload"] is None


def test_beyond_this_machine_proofs_go_by_tls_and_to_keys_only(broker, database, log, tmp_path):
    keys = tmp_path / "keys"
    reader = {"Authorization": f"Bearer {create_key(keys, 'auditor', ['read'])}"}
    authority = Authority("tests")
    (tmp_path / "ca.pem").write_text(authority.certificate)
    file, key = authority.sign("ingest", addresses=("127.0.0.1",)).save(tmp_path, "ingest")
    own = {"INGEST_SSL_CERTFILE": str(file), "INGEST_SSL_KEYFILE": str(key)}
    shared = {
        "INGEST_HOST": "0.0.0.0",
        "API_KEYS_FILE": str(keys),
        "INGEST_REQUIRE_KEY": "false",
        "DATABASE_URL": database.reporter_dsn,
    }
    path = f"/v1/events/{Place(1, 7).number}/proof"
    kafka = topics_on(broker)
    with ingest_on(kafka, tmp_path, **shared) as ingest:
        refused = problem(ingest.client.get(path, headers=reader), 403, "tls-required")
        assert "INGEST_SSL_CERTFILE" in refused.json()["detail"]
        assert "sent_in_clear" in ingest.service.log()
        assert ingest.post("/audit?wait=0", json=SHORT).status_code == 202
    with ingest_on(kafka, tmp_path, **shared, INGEST_BEHIND_TLS="true") as ingest:
        assert ingest.client.get(path, headers=reader).status_code == 200
        problem(ingest.client.get(path), 401, "unauthorized")
    with ingest_on(kafka, tmp_path, **shared, **own) as ingest:
        trusted = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        with httpx.Client(base_url=ingest.service.url, verify=trusted) as client:
            answer = client.get(path, headers=reader)
            assert standalone.check(answer.content, log.policy())["payload"] == "as recorded"
            problem(client.get(path), 401, "unauthorized")
            assert client.post("/audit?wait=0", json=SHORT).status_code == 202
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{ingest.service.port}/healthz", trust_env=False)
        assert "sent_in_clear" not in ingest.service.log()


def test_without_a_database_events_are_taken_and_proofs_say_what_to_set(broker, tmp_path):
    with ingest_on(topics_on(broker), tmp_path) as ingest:
        answer = problem(ingest.client.get("/v1/events/5/proof"), 503, "no-database")
        assert "DATABASE_URL" in answer.json()["detail"]
        assert ingest.post("/audit?wait=0", json=SHORT).status_code == 202
    nobody = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"}
    with ingest_on(topics_on(broker), tmp_path, **nobody) as ingest:
        problem(ingest.client.get("/v1/events/5/proof"), 503, "database-away")
        assert ingest.post("/audit?wait=0", json=SHORT).status_code == 202


def test_a_receipt_says_where_the_broker_put_the_event(broker, tmp_path):
    kafka = topics_on(broker)
    with ingest_on(kafka, tmp_path) as ingest:
        assert "receipt" not in ingest.post("/audit?wait=0", json=SHORT).json()
        assert "receipt" not in ingest.post("/audit?wait=0&receipt=0", json=SHORT).json()
        body = b'{"specversion":"1.0","id":"1","source":"/app","type":"t","data":1}'
        answer = ingest.post("/audit?wait=0&receipt=1", content=body, headers=STRUCTURED)
        receipt = answer.json()["receipt"]
        [message] = [item for item in ingest.messages() if item.value == body]
        assert (receipt["topic"], receipt["partition"], receipt["offset"]) == (
            message.topic,
            message.partition,
            message.offset,
        )
        assert (receipt["value_sha256"], receipt["timestamp_ms"]) == (
            sha256(body).hexdigest(),
            message.timestamp,
        )
        place = f"{receipt['topic_id']}:{message.partition}:{message.offset}"
        assert (len(receipt["topic_id"]), receipt["proof"]) == (32, f"/v1/events/{place}/proof")
        problem(ingest.post("/audit?receipt=yes", json=SHORT), 400, "receipt")
        problem(ingest.client.get(receipt["proof"]), 503, "no-database")
