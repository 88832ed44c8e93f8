"""`piperoll emit` on a real broker: every message acknowledged, byte for byte, declared where it is a back-fill."""

import json

import pytest
import typer
from kafka import KafkaConsumer
from typer.testing import CliRunner

from services.cli.demo_month.days import Month
from services.cli.demo_month.month import generate
from services.cli.emit import emit
from services.cli.outgoing import lines_over_http
from services.cli.producing import Outgoing, Place, open_producer, send_all


@pytest.fixture
def run(kafka, monkeypatch):
    """Runs `emit` with arguments, as a process would see the broker."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka.bootstrap_servers)
    monkeypatch.setenv("TOPIC_PREFIX", kafka.topic_prefix)
    app = typer.Typer()
    app.command()(emit)
    return lambda *arguments, **options: CliRunner().invoke(app, arguments, **options)


def read_all(kafka, topic):
    """Everything that stands in a topic."""
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=kafka.bootstrap_servers,
        auto_offset_reset="earliest",
        consumer_timeout_ms=1200,
    )
    try:
        return list(consumer)
    finally:
        consumer.close()


def test_lines_of_a_file_stand_in_the_topic_byte_for_byte(run, kafka, tmp_path):
    lines = [
        b'{"specversion":"1.0","id":"1","source":"app","type":"t","partitionkey":"p7",  "data":{"a":1.10}}',
        b'{"event_type":"user_logout","event_data":{}}',
        b"not json at all",
    ]
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\n".join([*lines, b"", b"  "]) + b"\n")
    result = run(str(path))
    assert result.exit_code == 0, result.output
    assert "3 events acknowledged" in result.output
    found = {message.value: message for message in read_all(kafka, kafka.topics.events)}
    assert set(found) == set(lines)
    assert found[lines[0]].key == b"p7"
    assert found[lines[1]].key is None
    assert not read_all(kafka, kafka.topics.system)


def test_standard_input_with_a_reason_is_declared_as_a_backfill_first(run, kafka):
    event = b'{"specversion":"1.0","id":"1","source":"app","type":"t","data":{}}\n{"bare":true}\n'
    result = run("-", "--backfill", "archive of the old system", input=event)
    assert result.exit_code == 0, result.output
    (own,) = read_all(kafka, kafka.topics.system)
    said = json.loads(own.value)
    assert (said["source"], said["type"]) == ("piperoll/emit", "piperoll.backfill.declared")
    assert said["data"]["reason"] == "archive of the old system"
    for message in read_all(kafka, kafka.topics.events):
        named = json.loads(message.value).get("backfill") or dict(message.headers)["backfill"].decode()
        assert named == said["id"]


def test_over_http_a_short_form_names_its_backfill_too():
    lines = [
        b'{"event_type":"t","event_data":1.10}',
        b'{"specversion":"1.0","id":"1","source":"a","type":"t"}',
        b"[1]",
    ]
    made = [json.loads(body) for body in lines_over_http(lines, "b-1")]
    assert [body["backfill"] for body in made[:2]] == ["b-1", "b-1"]
    assert made[2] == [1]
    assert list(lines_over_http(lines)) == lines


def test_a_generated_month_is_all_in_the_topic(run, kafka):
    result = run("--demo-month", "2026-10", "--events", "500", "--seed", "3")
    assert result.exit_code == 0, result.output
    made = generate(Month(2026, 10), 3, 500)
    found = sorted((m.key or b"", m.value or b"") for m in read_all(kafka, kafka.topics.events))
    assert found == sorted((m.key or b"", m.value or b"") for m in made.messages)
    (own,) = read_all(kafka, kafka.topics.system)
    assert json.loads(own.value)["id"] == made.declaration


def test_what_is_too_large_for_the_broker_is_counted_and_the_exit_status_is_1(run, kafka, tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"small":1}\n{"big":"' + b"x" * (2 * kafka.event_limit) + b'"}\n')
    result = run(str(path))
    assert result.exit_code == 1
    assert "1 events acknowledged" in result.output
    assert "MessageSizeTooLarge" in result.output


@pytest.mark.parametrize(
    "arguments",
    [(), ("events.jsonl", "--demo-month", "2026-10"), ("--demo-month", "2026-13"), ("missing.jsonl",)],
)
def test_what_cannot_be_tried_ends_with_status_2_and_says_why(run, arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.output.strip()


def test_places_are_those_of_the_topic(kafka):
    with open_producer(kafka, "test") as producer:
        messages = [Outgoing(b"k%d" % (n % 5), b"%d" % n, []) for n in range(2000)]
        outcomes = send_all(producer, kafka.topics.events, messages)
    assert all(isinstance(outcome, Place) for outcome in outcomes)
    found = {(m.partition, m.offset): m.value for m in read_all(kafka, kafka.topics.events)}
    assert {place: message.value for place, message in zip(outcomes, messages, strict=True)} == found


def test_over_http_all_but_what_ingest_must_refuse_is_taken(run, kafka, start_service, monkeypatch):
    ingest = start_service("ingest").wait_ready()
    monkeypatch.setenv("INGEST_URL", ingest.url)
    result = run("--demo-month", "2026-10", "--events", "500", "--http")
    assert result.exit_code == 0, result.output
    made = generate(Month(2026, 10), 1, 500)
    wanted = {m.id for m in made.messages if m.form not in ("bare", "short") and m.fate == "event"}
    refused = {m.id for m in made.messages if m.flaw == "incomplete" or m.source.startswith("piperoll/")}
    found = {json.loads(m.value)["id"] for m in read_all(kafka, kafka.topics.events)}
    assert wanted - refused <= found
    assert not refused & found


def test_over_http_only_the_lines_at_fault_are_refused(run, kafka, start_service, monkeypatch, tmp_path):
    ingest = start_service("ingest").wait_ready()
    monkeypatch.setenv("INGEST_URL", ingest.url)
    lines = [
        b'{"specversion":"1.0","id":"%d","source":"app","type":"note_written","data":{}}' % n
        for n in range(40)
    ]
    lines[17] = b'{"specversion":"1.0","id":"17","source":"app","type":"data_export","data":{}}'
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\n".join(lines))
    result = run(str(path), "--http")
    assert result.exit_code == 1
    assert "39 events acknowledged" in result.output
    assert "422" in result.output


def test_an_ingest_that_is_away_is_status_2(run, tmp_path, monkeypatch):
    monkeypatch.setenv("INGEST_URL", "http://127.0.0.1:9")
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"{}\n")
    result = run(str(path), "--http")
    assert result.exit_code == 2
    assert "ingest does not answer" in result.output
