"""Ingest by HTTP on a real broker: every status, and what then stands on audit.events."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from schemas.events import read_message
from tests.ingest_parts import (
    BATCH,
    EVENT,
    EXPORT,
    LINES,
    SHORT,
    STRUCTURED,
    Ingest,
    answering,
    ingest_on,
    topics_on,
    until,
)


@pytest.fixture(scope="module")
def shared_ingest(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingest]:
    limits = {
        "EVENT_MAX_BYTES": "20000",
        "INGEST_BATCH_MAX_BYTES": "100000",
        "INGEST_BATCH_MAX_EVENTS": "300",
    }
    with ingest_on(topics_on(broker), tmp_path_factory.mktemp("ingest"), **limits) as ingest:
        yield ingest


@pytest.fixture
def ingest(shared_ingest: Ingest) -> Iterator[Ingest]:
    """The module's ingest; `new()` gives what a test has put on the topic."""
    before = {(message.partition, message.offset) for message in shared_ingest.messages()}
    shared_ingest.new = lambda: [
        message for message in shared_ingest.messages() if (message.partition, message.offset) not in before
    ]
    yield shared_ingest
    assert shared_ingest.metric("piperoll_ingest_in_flight_requests") == 0
    assert shared_ingest.metric("piperoll_ingest_in_flight_bytes") == 0


def test_an_event_that_nobody_enriches_is_answered_202_once_it_is_durable(ingest):
    answer = ingest.post("/audit?wait=0.2", json=SHORT)
    assert answer.status_code == 202
    [message] = ingest.new()
    assert answer.json() == {"status": "accepted", "id": json.loads(message.value)["id"]}
    event = read_message(message.value, message.headers)
    assert (event.form, event.type, event.source, event.data, event.tags) == (
        "structured",
        "data_export",
        "http",
        EXPORT,
        [],
    )
    assert message.key == b"http"
    assert [name for name, _text in message.headers] == ["content-type", "piperoll-reply"]


def test_without_waiting_there_is_no_reply_token(ingest):
    assert ingest.post("/audit?wait=0", json=SHORT).status_code == 202
    [message] = ingest.new()
    assert [name for name, _text in message.headers] == ["content-type"]


def test_the_first_final_reply_is_the_answer(ingest):
    def replies(event):
        reply = {"summary": "s", "tags": ["data:export"], "risk": "low", "by": "rules"}
        return [reply | {"pending": True}, reply | {"by": "m", "risk": "high"}, reply | {"by": "late"}]

    with answering(ingest.kafka, replies):
        answer = ingest.post("/audit?wait=20", json=SHORT | {"id": "final"})
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "id": "final",
        "summary": "s",
        "tags": ["data:export"],
        "risk": "high",
        "by": "m",
    }
    assert answer.elapsed.total_seconds() < 18


def test_at_the_time_out_the_rules_reply_is_the_answer(ingest):
    reply = {"summary": "s", "tags": [], "risk": "low", "by": "rules", "pending": True}
    with answering(ingest.kafka, lambda _event: [reply]):
        answer = ingest.post("/audit?wait=1.5", json=SHORT)
    assert (answer.status_code, answer.json()["by"], answer.json()["pending"]) == (200, "rules", True)
    assert 1.4 < answer.elapsed.total_seconds() < 15


def test_a_reply_that_is_not_understood_is_passed_by(ingest):
    with answering(ingest.kafka, lambda _event: [{"summary": 5}]):
        assert ingest.post("/audit?wait=1", json=SHORT).status_code == 202
    with answering(ingest.kafka, lambda _event: [{"summary": "s", "tags": [], "risk": "low", "by": "rules"}]):
        assert ingest.post("/audit?wait=20", json=SHORT).status_code == 200


def test_an_idempotency_key_becomes_the_id_and_a_repeat_has_the_same_bytes(ingest):
    for _ in range(2):
        answer = ingest.post("/audit?wait=0", json=SHORT, headers={"Idempotency-Key": '"order-7"'})
        assert (answer.status_code, answer.json()["id"]) == (202, "order-7")
    first, second = ingest.new()
    assert first.value == second.value
    assert (
        ingest.post("/audit", json=SHORT | {"id": "x"}, headers={"Idempotency-Key": "y"}).status_code == 400
    )


def test_a_structured_event_goes_on_byte_for_byte(ingest):
    body = b'{ "specversion":"1.0","id":"\xc3\xa4","source":"/s","type":"t","partitionkey":"p","data":[1.10,"\\ud83d"] }'
    for path in ("/audit?wait=0", "/v1/events"):
        assert ingest.post(path, content=body, headers=STRUCTURED).status_code == 202
    for message in ingest.new():
        assert (message.value, message.key) == (body, b"p")


def test_a_binary_event_goes_on_as_binary_with_its_attributes_decoded(ingest):
    headers = {
        "ce-specversion": "1.0",
        "ce-id": "1",
        "ce-source": "/s",
        "ce-type": "t",
        "Content-Type": "image/png",
    }
    headers |= {"ce-subject": "a%20b%E2%82%AC", "piperoll": "x", "piperoll-key": "x", "ce-piperoll": "mine"}
    answer = ingest.post("/v1/events", content=b"\x89PNG\x00", headers=headers)
    assert (answer.status_code, answer.json()["ids"]) == (202, ["1"])
    empty = {name: text for name, text in headers.items() if name != "Content-Type"}
    assert ingest.post("/audit?wait=0", headers=empty).status_code == 202
    full, null = ingest.new()
    assert dict(full.headers) == {
        "ce_specversion": b"1.0",
        "ce_id": b"1",
        "ce_source": b"/s",
        "ce_type": b"t",
        "ce_subject": "a b€".encode(),
        "ce_piperoll": b"mine",
        "content-type": b"image/png",
    }
    assert (full.value, full.key, null.value) == (b"\x89PNG\x00", b"/s", None)
    assert read_message(null.value, null.headers).form == "binary"


def test_a_batch_and_json_lines_keep_order_and_bytes(ingest):
    events = [json.dumps(EVENT | {"id": str(number)}) for number in range(200)]
    answer = ingest.post("/v1/events", content=f"[{', '.join(events)}]", headers=BATCH)
    assert (answer.status_code, answer.json()["ids"]) == (202, [str(number) for number in range(200)])
    lines = [*events, json.dumps(SHORT | {"source": "/app"})]
    answer = ingest.post("/v1/events", content="\n".join(lines), headers=LINES)
    assert (answer.status_code, answer.json()["ids"][:200]) == (202, [str(number) for number in range(200)])
    values = [message.value.decode() for message in ingest.new()]
    assert values[:400] == events * 2
    assert json.loads(values[400])["data"] == EXPORT


def test_one_wrong_event_keeps_a_whole_batch_out(ingest):
    lines = [json.dumps(EVENT), json.dumps({"event_type": "data_export", "event_data": {}}), "{"]
    answer = ingest.post("/v1/events", content="\n".join(lines), headers=LINES)
    assert answer.status_code == 400
    assert [(error["line"], error["status"]) for error in answer.json()["errors"]] == [(2, 422), (3, 400)]
    assert ingest.new() == []


@pytest.mark.parametrize(
    ("status", "kind", "request_"),
    [
        (415, "unsupported-media-type", {"content": b"{}"}),
        (415, "unsupported-media-type", {"data": {"a": "b"}}),
        (415, "unsupported-media-type", {"content": b"{}", "headers": {"Content-Type": "text/plain"}}),
        (415, "unsupported-media-type", {"json": SHORT, "headers": {"Content-Encoding": "gzip"}}),
        (400, "bad-json", {"content": b'{"a":', "headers": {"Content-Type": "application/json"}}),
        (400, "bad-json", {"content": b'{"a":NaN}', "headers": {"Content-Type": "application/json"}}),
        (400, "bad-json", {"content": b'{"a":1,"a":2}', "headers": {"Content-Type": "application/json"}}),
        (400, "bad-json", {"content": b"[" * 5000, "headers": {"Content-Type": "application/json"}}),
        (400, "bad-json", {"content": b"", "headers": {"Content-Type": "application/json"}}),
        (400, "bad-json", {"content": b'"\xff"', "headers": {"Content-Type": "application/json"}}),
        (400, "invalid-event", {"json": {"specversion": "0.3", "id": "1"}, "headers": STRUCTURED}),
        (
            422,
            "missing-fields",
            {"content": b"{}", "headers": {"ce-id": "1", "Content-Type": "application/json"}},
        ),
        (422, "missing-fields", {"json": {"specversion": "1.0", "source": "/a"}, "headers": STRUCTURED}),
        (400, "idempotency-key", {"json": SHORT, "headers": {b"Idempotency-Key": b"\xff"}}),
        (403, "reserved-source", {"json": SHORT | {"source": "piperoll/writer"}}),
        (413, "too-large", {"json": SHORT | {"event_data": EXPORT | {"x": "y" * 20000}}}),
        (
            413,
            "too-large",
            {"content": (b"x" * 9000 for _ in range(4)), "headers": {"Content-Type": "application/json"}},
        ),
        (422, "missing-fields", {"json": {"event_type": "data_export", "event_data": {"user_id": 1}}}),
        (422, "missing-fields", {"json": {"event_type": "x"}}),
        (422, "missing-fields", {"json": [SHORT]}),
        (422, "unknown-fields", {"json": SHORT | {"actor": "me"}}),
        (401, "unauthorized", {"json": SHORT, "headers": {"Authorization": "Bearer pr_x"}}),
    ],
)
@pytest.mark.parametrize("path", ["/audit", "/v1/events"])
def test_what_is_wrong_is_refused_with_a_problem(ingest, path, status, kind, request_):
    if not isinstance(request_.get("content", b""), bytes):
        request_ = request_ | {"content": iter([b"x" * 9000] * 4)}
    answer = ingest.post(path, **request_)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:piperoll:problem:{kind}")
    assert ingest.new() == []


def test_missing_fields_are_named(ingest):
    answer = ingest.post(
        "/audit", json={"event_type": "data_export", "event_data": {"user_id": 1, "dataset_id": None}}
    )
    assert answer.json()["missing"] == ["dataset_id", "export_time", "export_reason"]
    assert "export_reason" in answer.json()["detail"]


def test_bad_json_is_answered_with_line_and_column(ingest):
    headers = {"Content-Type": "application/json"}
    answer = ingest.post("/audit", content=b'{"event_type": "t",\n  oops}', headers=headers)
    assert (answer.json()["line"], answer.json()["column"]) == (2, 3)


def test_a_batch_over_its_limits_is_refused(ingest):
    assert ingest.post("/v1/events", content=b"x" * 100_001, headers=LINES).status_code == 413
    lines = "\n".join([json.dumps(EVENT)] * 301)
    assert ingest.post("/v1/events", content=lines, headers=LINES).json()["title"] == "Too many events"
    assert ingest.new() == []


def test_several_events_do_not_fit_in_audit(ingest):
    assert ingest.post("/audit", content=json.dumps(EVENT), headers=LINES).status_code == 415


def test_a_wait_that_is_no_time_is_refused(ingest):
    assert ingest.post("/audit?wait=soon", json=SHORT).status_code == 400


def test_an_unknown_type_is_taken(ingest):
    assert (
        ingest.post("/audit?wait=0", json={"event_type": "never.seen", "event_data": None}).status_code == 202
    )


def test_other_paths_and_methods_are_problems_too(ingest):
    for answer, status in ((ingest.client.get("/audit"), 405), (ingest.client.get("/nothing"), 404)):
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert ingest.client.put("/v1/events").headers["allow"] == "POST"


def test_the_document_names_the_ways_in_and_loads_nothing_from_elsewhere(ingest):
    document = ingest.client.get("/openapi.json").json()
    assert document["info"]["title"] == "Piperoll ingest"
    assert set(document["paths"]) == {
        "/audit",
        "/v1/events",
        "/v1/events/{identifier}/proof",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    assert ingest.client.get("/docs").status_code == 404


def test_metrics_count_requests_and_events(ingest):
    durable = 'piperoll_ingest_events_total{outcome="durable"}'
    ingest.post("/audit?wait=0", json=SHORT)
    before = ingest.metric(durable)
    ingest.post("/audit?wait=0", json=SHORT)
    assert ingest.metric(durable) == before + 1
    assert ingest.client.get("/healthz").text == "ok\n"


def test_the_cloudevents_sdk_is_a_client(ingest):
    attributes = {"type": "com.example.test", "source": "/sdk", "subject": "ä b%", "flag": True}
    event = CloudEvent(attributes=attributes | {"datacontenttype": "application/json"}, data={"n": 1})
    for message in (to_structured_event(event), to_binary_event(event)):
        answer = ingest.post("/v1/events", content=message.body, headers=message.headers)
        assert (answer.status_code, answer.json()["ids"]) == (202, [event.get_id()])
    batch = b"[" + b",".join([to_structured_event(event).body] * 2) + b"]"
    assert ingest.post("/v1/events", content=batch, headers=BATCH).status_code == 202
    found = [read_message(message.value, message.headers) for message in ingest.new()]
    assert [seen.form for seen in found] == ["structured", "binary", "structured", "structured"]
    for seen in found:
        assert (seen.id, seen.source, seen.type, seen.subject, seen.data) == (
            event.get_id(),
            "/sdk",
            "com.example.test",
            "ä b%",
            {"n": 1},
        )


def test_the_cases_of_the_json_test_suite_are_taken_or_refused_and_crash_nothing(ingest, shared_data: Path):
    files = sorted((shared_data / "json-test-suite").glob("*.json"))
    assert len(files) > 200
    taken = []
    for file in files:
        text = file.read_bytes()
        body = b'{"event_type":"t","source":"/suite","event_data":' + text + b"}"
        answer = ingest.post("/audit?wait=0", content=body, headers={"Content-Type": "application/json"})
        duplicate = "duplicated_key" in file.name
        if file.name.startswith("y_") and not duplicate:
            assert answer.status_code == 202, file.name
            taken.append(text.strip(b" \t\r\n"))
        elif file.name.startswith("n_") or duplicate:
            assert answer.status_code in (400, 413), file.name
        else:
            assert answer.status_code in (202, 400), file.name
    recorded = [message.value for message in ingest.new()]
    for text in taken:
        assert any(value.endswith(b'"data":' + text + b"}") for value in recorded)


def test_naughty_strings_pass_unchanged(ingest, shared_data: Path):
    strings = json.loads((shared_data / "naughty-strings.json").read_text(encoding="utf-8"))
    lines = [
        json.dumps({"event_type": "t", "source": "/naughty", "event_data": {text: text}}) for text in strings
    ]
    for start in range(0, len(lines), 250):
        body = "\n".join(lines[start : start + 250])
        assert ingest.post("/v1/events", content=body, headers=LINES).status_code == 202
    found = [json.loads(message.value)["data"] for message in ingest.new()]
    assert found == [{text: text} for text in strings]
    for text in strings[::7]:
        answer = ingest.post(
            "/audit?wait=0", json={"event_type": text, "event_data": 1, "id": text, "subject": text}
        )
        assert answer.status_code in (202, 400)


def test_malformed_chunks_are_a_problem_of_the_request(ingest):
    head = "POST /audit HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", ingest.service.port), timeout=10) as client:
        client.sendall(f'{head}5\r\n{{"a":\r\nzz\r\n'.encode())
        answer = client.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"body-broken-off" in answer
    assert ingest.new() == []


def test_a_client_that_dies_within_its_body_records_nothing(ingest, tmp_path):
    """SIGKILL closes its connection with half of the body sent: what came is valid JSON lines, but not all of them."""
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415

    line = json.dumps(EVENT) + "\n"
    for head in (f"Content-Length: {len(line) * 2}", "Transfer-Encoding: chunked"):
        body = line if "Length" in head else f"{len(line):x}\r\n{line}\r\n"
        request = f"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n{head}\r\n\r\n{body}"
        code = (
            "import socket,sys,time\n"
            f"s = socket.create_connection(('127.0.0.1', {ingest.service.port}))\n"
            f"s.sendall({request!r}.encode())\nprint('sent', flush=True)\ntime.sleep(60)"
        )
        gone = ingest.metric("piperoll_ingest_clients_gone_total")
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as client:
            client.stdout.readline()
            until(lambda: ingest.metric("piperoll_ingest_in_flight_requests") == 1)
            client.kill()
        until(lambda gone=gone: ingest.metric("piperoll_ingest_clients_gone_total") == gone + 1)
    assert ingest.new() == []
