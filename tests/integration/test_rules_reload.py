"""A running enricher judges by changed rules within seconds, without a restart, and loses no event meanwhile."""

import time

import msgspec
from kafka import KafkaProducer

from schemas.enrichment import decode_header
from services.common.kafka_client import client_options
from tests.fault.oracle import assert_every_event_once, read_partition

RULE = """title: {title}
id: 5f113a8f-8b61-41ca-b90f-000000000001
logsource: {{product: piperoll, service: unknown}}
detection:
  selection: {{gate: north}}
  condition: selection
level: {level}
"""


def test_rules_are_changed_under_a_running_enricher(kafka, start_service, tmp_path, request):
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "gate.yml").write_text(RULE.format(title="before", level="low"))
    enricher = start_service("enricher", RULES_DIR=str(folder)).wait_ready()
    producer = KafkaProducer(**client_options(kafka, "tests"))
    request.addfinalizer(producer.close)
    assert judged(kafka, producer) == ("low", ["before"])
    (folder / "gate.yml").write_text(RULE.format(title="after", level="critical"))
    (folder / "bad.yml").write_text("title: bad\n- x\n")
    deadline = time.monotonic() + 30
    while judged(kafka, producer) != ("critical", ["after"]):
        assert time.monotonic() < deadline, enricher.log()
        time.sleep(0.5)
    assert "rule_refused" in enricher.log()
    assert "bad.yml:2" in enricher.log()
    assert enricher.stop() == 0
    assert_every_event_once(kafka)


def judged(kafka, producer):
    """Risk and rules of an event sent now."""
    sent = producer.send(kafka.topics.events, b'{"gate": "north"}', partition=0).get(20)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for message in read_partition(kafka, kafka.topics.enriched, 0):
            header = decode_header(message.headers[-1][1])
            if header.offset == sent.offset:
                document = msgspec.json.decode(header.enrichment)
                return document["risk"], [rule["title"] for rule in document.get("rules", [])]
    raise AssertionError("the event was not enriched")
