"""What others have collected to break parsers, through both entrances: recorded or refused, and nothing falls over."""

import asyncio
import json

import httpx
import pytest
from aiokafka import AIOKafkaProducer

from deploy.local.postgres import run_async
from schemas.commitment import Body, decode_body
from schemas.topics import ORIGIN_HEADER, REASON_HEADER
from tests.fault import feeder
from tests.ingest_parts import messages

OWN_HOSTILE = [
    b"",
    b"null",
    b"NaN",
    b'{"a":NaN}',
    b'{"a":1,"a":2}',
    b'"\\ud800"',
    b'{"\\u0000":"\\u0000"}',
    b"\xff\xfe",
    b"[" * 5000,
    b"[" * 90 + b"]" * 90,
    b'{"specversion":"1.0"}',
    b'{"specversion":"1.0","id":"\\u0000","source":"\\ud800","type":"\\u202e","data":{}}',
    b'{"event_type":"x","event_data":null}',
    b'{"event_type":{},"event_data":[]}',
    b"1" * 5000,
    b"1e999",
    b'{"eventSource":"iam.amazonaws.com","eventName":{},"userIdentity":[],"eventTime":7}',
]


def _send(pipeline, values) -> None:
    client = feeder.producer(pipeline.kafka)
    for number, text in enumerate(values):
        client.send(pipeline.kafka.topics.events, value=text, partition=number % pipeline.kafka.partitions)
    client.flush()
    client.close()


def _recorded_values(pipeline) -> dict[bytes, set[int]]:
    """The values that stand in payloads, each with the kinds of its records."""
    found: dict[bytes, set[int]] = {}
    for kind, body in pipeline.rows(
        "SELECT r.kind, p.body FROM audit.record r JOIN audit.payload p USING (chain_no, seq) WHERE r.kind IN (1, 3)"
    ):
        found.setdefault(decode_body(body).value, set()).add(kind)
    return found


def _check(pipeline, values) -> dict[bytes, set[int]]:
    _send(pipeline, values)
    pipeline.wait_recorded()
    found = _recorded_values(pipeline)
    assert set(values) <= set(found)
    pipeline.rows("SELECT event_data, ai_summary, ai_tags, rules FROM audit_events")
    _every_poison_record_has_its_dead_letter(pipeline)
    pipeline.assert_verified()
    return found


def _every_poison_record_has_its_dead_letter(pipeline) -> None:
    poison = [
        f"{topic_id.hex()}/{partition}/{offset}".encode()
        for topic_id, partition, offset in pipeline.rows(
            "SELECT topic_id, partition, source_offset FROM audit.record JOIN audit.chain USING (chain_no) WHERE kind = 3"
        )
    ]
    letters = [message.headers for message in messages(pipeline.kafka, pipeline.kafka.topics.dead_letters)]
    assert len(letters) == len(poison)
    assert all([name for name, _ in headers[-2:]] == [REASON_HEADER, ORIGIN_HEADER] for headers in letters)
    assert all(headers[-2][1] for headers in letters)
    assert sorted(headers[-1][1] for headers in letters) == sorted(poison)


def test_our_own_hostile_messages_are_all_recorded(pipeline):
    found = _check(pipeline, OWN_HOSTILE)
    assert found[b"\xff\xfe"] == {3}
    assert found[b'{"a":NaN}'] == {1}


def test_every_file_of_json_test_suite_is_recorded_from_the_topic(pipeline, shared_data):
    files = {path.name: path.read_bytes() for path in sorted((shared_data / "json-test-suite").iterdir())}
    found = _check(pipeline, list(files.values()))
    valid = {text for name, text in files.items() if name.startswith("y_")}
    assert all(found[text] == {1} for text in valid)
    refused = {name for name, text in files.items() if name.startswith("n_") and 1 in found[text]}
    assert all("NaN" in name or "nfinity" in name or "Inf" in name for name in refused), refused


def test_every_file_of_json_test_suite_is_recorded_or_refused_over_http(pipeline, shared_data):
    accepted = 0
    with httpx.Client(base_url=pipeline.url, timeout=20) as client:
        for path in sorted((shared_data / "json-test-suite").iterdir()):
            text = b'{"event_type":"x","event_data":' + path.read_bytes() + b"}"
            headers = {"Content-Type": "application/json"}
            answer = client.post("/audit", params={"wait": "0"}, content=text, headers=headers)
            assert answer.status_code in (202, 400, 413), f"{path.name}: {answer.status_code} {answer.text}"
            accepted += answer.status_code == 202
            if path.name.startswith("n_"):
                assert answer.status_code == 400, path.name
            if path.name.startswith("y_"):
                assert answer.status_code == 202 or "duplicated_key" in path.name, (
                    f"{path.name}: {answer.text}"
                )
    assert accepted > 0
    pipeline.wait_recorded(accepted)
    assert pipeline.recorded() == accepted
    pipeline.assert_verified()


def test_naughty_strings_in_every_place_are_recorded_as_they_came(pipeline, shared_data):
    strings = [text for text in json.loads((shared_data / "naughty-strings.json").read_text("utf-8")) if text]
    values = [
        feeder.event(
            number,
            id=f"{number}{text}",
            source=text,
            type=text,
            subject=text,
            data={text: text, "user_id": text},
        )
        for number, text in enumerate(strings)
    ]
    _check(pipeline, values)
    with httpx.Client(base_url=pipeline.url, timeout=20) as client:
        for text in strings:
            event = {"event_type": text, "event_data": {"user_id": text, text: text}}
            assert client.post("/audit", params={"wait": "0"}, json=event).status_code in (202, 400, 403, 422)
    pipeline.wait_recorded()


SOURCES = [
    "cloudtrail.jsonl",
    "cloudtrail_rules.jsonl",
    "okta.jsonl",
    "github.jsonl",
    "k8s.jsonl",
    "azure.jsonl",
    "gcp.jsonl",
    "gworkspace.jsonl",
    "saas.jsonl",
    "windows.jsonl",
    "ocsf.jsonl",
    "cdevents.jsonl",
    "ai_platform.jsonl",
    "prompt-injections.jsonl",
    "github_webhooks.jsonl",
    "model_inference.jsonl",
]


HEADERS = [
    [],
    [("content-type", b"application/json"), ("trace", b"00-1"), ("trace", b"00-2"), ("trace", b"00-1")],
    [("empty", b""), ("null", None), ("null", b"\x00\xff"), ("", b"without a name")],
    [("Größe 尺寸", "ä".encode()), ("piperoll", b"not yours"), ("piperoll-reason", b"none")],
    [("piperoll", None), ("last", b"x"), ("piperoll", b"\x01" * 200)],
]
KEYS = [None, b"", b"tenant-7", b"\x00\xff"]


async def _send_whole(kafka, values) -> list[Body]:
    """Each with another key and other headers; returns what the records must hold. By aiokafka: kafka-python sends no
    null header values."""
    sent, handed = [], []
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, max_request_size=2**21) as client:
        for number, value in enumerate(values):
            key, headers = KEYS[number % len(KEYS)], HEADERS[number % len(HEADERS)]
            partition = number % kafka.partitions
            handed.append(await client.send(kafka.topics.events, value, key, partition, headers=headers))
            sent.append(Body(key, value, [(name.encode(), text) for name, text in headers]))
        await asyncio.gather(*handed)
    return sent


@pytest.mark.timeout(300)
def test_real_events_go_through_the_whole_pipeline_byte_for_byte(pipeline, shared_data):
    values = [
        line for name in SOURCES for line in (shared_data / name).read_bytes().split(b"\n") if line.strip()
    ]
    assert len(values) > 4000
    sent = run_async(_send_whole(pipeline.kafka, values))
    pipeline.wait_recorded()
    rows = pipeline.rows(
        "SELECT kind, body FROM audit.record JOIN audit.payload USING (chain_no, seq) WHERE kind IN (1, 3)"
    )
    assert {kind for kind, _ in rows} == {1}
    assert sorted((decode_body(body) for _, body in rows), key=repr) == sorted(sent, key=repr)
    pipeline.assert_verified()
