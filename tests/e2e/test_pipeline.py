"""From an app's event to a record, as users do it."""

import json
import re
import shutil
import subprocess

import pytest
from cloudevents.core.bindings import kafka as kafka_binding
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from schemas.commitment import decode_body
from tests.fault import feeder
from tests.service_process import ROOT


def readme_call() -> str:
    """The curl command of the README, letter by letter."""
    [command] = re.findall(r"```sh\n(curl .*?)\n```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    return command


def test_the_call_of_the_readme_is_answered_and_its_event_is_in_the_view(pipeline):
    if shutil.which("curl", path="/usr/bin:/bin") is None:
        pytest.skip("curl is not installed")
    command = readme_call()
    assert command.count("http://localhost:8080/") == 1
    here = command.replace("localhost:8080", f"localhost:{pipeline.ingest.port}")
    status = " --silent --show-error --write-out '\\n%{http_code}'"
    environ = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["sh", "-c", here + status], env=environ, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    text, _, status = done.stdout.rpartition("\n")
    assert status == "200", done.stdout
    said = json.loads(text)
    assert said["status"] == "ok"
    assert "42" in said["summary"]
    assert said["by"] == "rules"
    assert isinstance(said["tags"], list)
    pipeline.wait_recorded(1)
    found = pipeline.rows(
        "SELECT event_type, event_data, ai_summary, ai_tags, event_time::text FROM audit_events"
    )
    assert len(found) == 1
    kind, data, summary, tags, _ = found[0]
    sent = json.loads(re.search(r"-d '(.*)'", command)[1])
    assert (kind, json.loads(data)) == (sent["event_type"], sent["event_data"])
    assert (summary, list(tags)) == (said["summary"], said["tags"])
    pipeline.assert_verified()


def test_the_cloudevents_sdk_is_a_kafka_client(pipeline):
    """Structured and binary messages, as its Kafka binding makes them, mean the same."""
    attributes = {"type": "com.example.test", "source": "/sdk", "subject": "ä b%", "partitionkey": "tenant-7"}
    attributes |= {"datacontenttype": "application/json"}
    bindings = {"structured": kafka_binding.to_structured, "binary": kafka_binding.to_binary}
    client = feeder.producer(pipeline.kafka)
    for name, bind in bindings.items():
        event = CloudEvent(attributes=attributes | {"id": name}, data={"user_id": 42, "form": name})
        message = bind(event, JSONFormat())
        key, headers = message.key.encode(), list(message.headers.items())
        client.send(pipeline.kafka.topics.events, value=message.value, key=key, headers=headers)
    client.flush()
    client.close()
    pipeline.wait_recorded(2)
    found = pipeline.rows(
        "SELECT event_id, event_type, source, subject, event_data::text, kind FROM audit_events ORDER BY event_id"
    )
    assert [(*row[:4], json.loads(row[4]), row[5]) for row in found] == [
        (name, "com.example.test", "/sdk", "ä b%", {"user_id": 42, "form": name}, "event")
        for name in sorted(bindings)
    ]
    pipeline.assert_verified()


def test_an_event_sent_twice_is_recorded_once_and_its_repeat_as_a_duplicate(pipeline):
    value = feeder.event(1)
    client = feeder.producer(pipeline.kafka)
    for _ in range(2):
        client.send(pipeline.kafka.topics.events, value=value, partition=0)
    client.flush()
    client.close()
    pipeline.wait_recorded(2)
    assert pipeline.rows("SELECT count(*) FROM audit_events") == [(1,)]
    assert pipeline.rows("SELECT count(*) FROM audit.record WHERE kind = 2") == [(1,)]
    pipeline.assert_verified()


def test_a_harmless_forerunner_with_the_same_id_does_not_hide_the_real_event(pipeline):
    client = feeder.producer(pipeline.kafka)
    forerunner = feeder.event(1, data={"harmless": True})
    client.send(pipeline.kafka.topics.events, value=forerunner, partition=0)
    client.send(pipeline.kafka.topics.events, value=feeder.event(1), partition=0)
    client.flush()
    client.close()
    pipeline.wait_recorded(2)
    found = pipeline.rows("SELECT event_data, ai_tags, risk FROM audit_events ORDER BY id")
    assert len(found) == 2
    assert json.loads(found[1][0])["dataset_id"] == "ds-99"
    assert "identity:conflict" in found[1][1]
    assert found[1][2] == "high"
    pipeline.assert_verified()


@pytest.mark.parametrize("victim", ["enricher", "writer"])
def test_kill_9_in_mid_flow_records_every_event_exactly_once(pipeline, start_service, victim):
    with feeder.Feeder(pipeline.kafka, per_second=300):
        for _ in range(2):
            before = pipeline.recorded()
            pipeline.wait_recorded(before + 200)
            getattr(pipeline, victim).kill()
            setattr(pipeline, victim, start_service(victim))
    pipeline.wait_recorded()
    _assert_every_offset_once(pipeline)


def test_two_enrichers_and_two_writers_that_rebalance_record_every_event_exactly_once(
    pipeline, start_service
):
    with feeder.Feeder(pipeline.kafka, per_second=300):
        pipeline.wait_recorded(200)
        others = [start_service("enricher").wait_ready(), start_service("writer").wait_ready()]
        pipeline.wait_recorded(pipeline.recorded() + 400)
        for other in others:
            assert other.stop() == 0
        pipeline.wait_recorded(pipeline.recorded() + 200)
    pipeline.wait_recorded()
    _assert_every_offset_once(pipeline)


def test_a_topic_deleted_and_made_anew_loses_nothing_and_opens_new_chains(pipeline, start_service):
    from services.common.kafka import admin_client, create_topics  # noqa: PLC0415 - only here

    feeder.send(pipeline.kafka, 90)
    pipeline.wait_recorded(90)
    admin = admin_client(pipeline.kafka, "test")
    admin.delete_topics([pipeline.kafka.topics.events])
    feeder.wait_until(lambda: pipeline.kafka.topics.events not in admin.list_topics())
    create_topics(pipeline.kafka)
    admin.close()
    feeder.send(pipeline.kafka, 60, start=1000)
    assert pipeline.enricher.wait(60) == 1  # on purpose; who supervises it starts it again
    start_service("enricher")
    pipeline.wait_recorded(150)
    found = pipeline.rows("SELECT count(DISTINCT event_id) FROM audit_events")
    assert found == [(150,)]
    chains = pipeline.rows(
        "SELECT count(*), count(previous) FROM audit.chain WHERE topic = $1", pipeline.kafka.topics.events
    )
    assert chains == [(6, 3)]
    pipeline.assert_verified()


def _assert_every_offset_once(pipeline) -> None:
    """Offsets without hole or repeat in each chain, every (source, id) once, bodies as they were sent, chains good."""
    for number, lowest, highest, count in pipeline.rows(
        "SELECT chain_no, min(source_offset), max(source_offset), count(*) FROM audit.record"
        " WHERE kind = 1 GROUP BY chain_no"
    ):
        assert (lowest, highest) == (0, count - 1), f"chain {number}"
    events = feeder.total(pipeline.kafka, pipeline.kafka.topics.events)
    assert pipeline.rows("SELECT count(*), count(DISTINCT (source, event_id)) FROM audit_events") == [
        (events, events)
    ]
    bodies = pipeline.rows(
        "SELECT p.body FROM audit.payload p JOIN audit.record r USING (chain_no, seq) WHERE r.kind = 1"
    )
    ids = {json.loads(decode_body(body).value)["id"] for (body,) in bodies}
    assert len(ids) == events
    pipeline.assert_verified()
