"""`piperoll replay`: what has gone missing between the topics is read again, and recorded once."""

import asyncio
import json

import pytest
from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata
from typer.testing import CliRunner

from schemas.commitment import decode_body
from schemas.record import Kind
from schemas.topics import REPLAYS_HEADER
from schemas.verification.findings import Change
from services.cli.group_offsets import open_group
from services.cli.replay import app
from services.common.kafka import admin_client, topic_ids
from services.reporter.verify import verify_database
from tests import query
from tests.fault import feeder
from tests.fault.oracle import read_partition

SMALL = {"ENRICHER_BATCH_EVENTS": "50", "ENRICHER_COMMIT_INTERVAL": "0.2"}
SETTINGS = {"partitions": 1}


@pytest.fixture
def replay(kafka, database, monkeypatch, tmp_path):
    """Runs `piperoll replay ARGUMENTS --json`; returns (exit status, what it printed, what it said)."""
    variables = {
        "PIPEROLL_HOME": str(tmp_path / "home"),
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "TOPIC_PREFIX": kafka.topic_prefix,
        "DATABASE_URL": database.reporter_dsn,
    }
    with open_group(kafka):
        pass  # a fresh broker has its coordinator now, for `commit` too
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    monkeypatch.chdir(tmp_path)

    def run(*arguments, **changes):
        with monkeypatch.context() as changed:
            for name, text in changes.items():
                changed.setenv(name, text)
            result = CliRunner().invoke(app, ["replay", *arguments, "--json"])
        return result.exit_code, json.loads(result.stdout) if result.stdout else None, result.stderr

    return run


def commit(kafka, offset: int, topic_id: bytes | None = None) -> None:
    """Sets the enricher's group by hand, past what it has sent on."""
    admin = admin_client(kafka, "test")
    topic_id = topic_id or topic_ids(admin, [kafka.topics.events])[kafka.topics.events]
    place = TopicPartition(kafka.topics.events, 0)
    outcome = admin.alter_group_offsets(
        kafka.topics.group("enricher"), {place: OffsetAndMetadata(offset, topic_id.hex(), -1)}
    )
    admin.close()
    assert {getattr(error, "errno", 0) for error in outcome.values()} == {0}


def committed(kafka) -> OffsetAndMetadata:
    """The group's commit, with its metadata."""
    admin = admin_client(kafka, "test")
    group = kafka.topics.group("enricher")
    found = admin.list_group_offsets({group: None})[group][TopicPartition(kafka.topics.events, 0)]
    admin.close()
    return found


def recorded(database) -> list[int]:
    """Source offsets of events and poison, in the order of the chain."""
    found = query.rows(
        database.reporter_dsn, "SELECT source_offset FROM audit.record WHERE kind IN (1, 3) ORDER BY seq"
    )
    return [offset for (offset,) in found]


def wait_recorded(database, count: int) -> None:
    feeder.wait_until(lambda: len(recorded(database)) >= count, what=f"{count} records")


def alerts(kafka) -> list[str]:
    one = kafka.model_copy(update={"partitions": 1})
    return [json.loads(message.value)["name"] for message in read_partition(one, kafka.topics.alerts, 0)]


@pytest.mark.parametrize("kafka", [SETTINGS], indirect=True)
def test_a_hole_in_the_chain_is_found_and_filled_by_reading_from_it_again(
    kafka, database, start_service, replay
):
    writer = start_service("writer")
    enricher = start_service("enricher", **SMALL)
    feeder.send(kafka, 40)
    wait_recorded(database, 40)
    feeder.wait_drained(kafka)
    enricher.stop()
    feeder.send(kafka, 40, start=40)
    commit(kafka, 60)
    enricher = start_service("enricher", **SMALL)
    feeder.wait_until(lambda: "enriched_hole" in alerts(kafka), what="the writer's alert")
    feeder.wait_drained(kafka)

    status, _, said = replay("offsets")
    assert status == 2
    assert "stop them first" in said
    enricher.stop()
    writer.wait_ready()
    verified = asyncio.run(verify_database(database.reporter_dsn))
    assert [(one.change, one.source_offset) for one in verified.findings] == [(Change.NOT_ARRIVED, 40)]
    rewind = {"partition": 0, "offset": 40, "committed": 80, "expired_before": None}
    feeder.wait_until(
        lambda: replay("offsets", "--dry-run")[1]["set"] == [rewind], what="the hole's being found"
    )
    assert replay("offsets", "--dry-run")[0] == 1
    assert committed(kafka).offset == 80
    status, found, _ = replay("offsets")
    assert (status, found["set"], found["unjudged"]) == (0, [rewind], [])

    start_service("enricher", **SMALL)
    wait_recorded(database, 80)
    feeder.wait_drained(kafka)
    assert recorded(database) == list(range(80))
    assert asyncio.run(verify_database(database.reporter_dsn)).good
    events = query.value(database.reporter_dsn, "SELECT count(DISTINCT event_id) FROM audit_events")
    assert events == 80
    skips = "SELECT count(*) FROM audit.record WHERE kind = $1"
    assert query.value(database.reporter_dsn, skips, Kind.SKIP) == 0
    said = "SELECT count(*) FROM audit.payload WHERE position($1::bytea IN body) > 0"
    feeder.wait_until(
        lambda: query.value(database.reporter_dsn, said, b"piperoll.replay.offsets") == 1,
        what="the record of the replay itself",
    )


@pytest.mark.parametrize("kafka", [SETTINGS], indirect=True)
def test_offsets_are_set_back_with_the_topic_id_and_never_forward(kafka, database, replay):
    feeder.send(kafka, 10)
    status, _, said = replay("offsets", "--partition", "0", "--offset", "3")
    assert (status, "begins at the start" in said) == (2, True)
    commit(kafka, 8)
    status, found, said = replay("offsets", "--partition", "0", "--offset", "9")
    assert (status, found, "--force" in said) == (2, None, True)
    assert replay("offsets", "--partition", "0", "--offset", "8")[:2] == (
        0,
        {"group": kafka.topics.group("enricher"), "set": [], "unjudged": [], "dry_run": False},
    )
    assert replay("offsets", "--partition", "0", "--offset", "5")[0] == 0
    topic_id = committed(kafka).metadata
    assert committed(kafka).offset == 5
    assert len(bytes.fromhex(topic_id)) == 16
    assert replay("offsets", "--partition", "0", "--offset", "7", "--force")[0] == 0
    assert committed(kafka)[:2] == (7, topic_id)
    assert replay("offsets", "--partition", "5", "--offset", "1")[0] == 2
    assert replay("offsets", "--partition", "0")[0] == 2
    status, found, said = replay("offsets")
    assert (status, found["set"]) == (2, [])
    assert "no chain yet" in said


@pytest.mark.parametrize("kafka", [SETTINGS], indirect=True)
def test_a_commit_of_an_earlier_topic_counts_as_none(kafka, database, replay):
    feeder.send(kafka, 10)
    commit(kafka, 8, topic_id=b"x" * 16)
    assert replay("offsets")[:2] == (
        0,
        {"group": kafka.topics.group("enricher"), "set": [], "unjudged": [], "dry_run": False},
    )
    assert replay("offsets", "--partition", "0", "--offset", "5")[0] == 2


def send(kafka, key, value, headers) -> int:
    """One message into partition 0; its offset."""
    client = feeder.producer(kafka, max_request_size=4 * 1024 * 1024)
    sent = client.send(kafka.topics.events, key=key, value=value, headers=headers, partition=0)
    client.flush()
    offset = sent.get(timeout=30).offset
    client.close()
    return offset


LIMITED = {"partitions": 1, "event_limit": 200_000}


@pytest.mark.parametrize("kafka", [LIMITED], indirect=True)
def test_what_was_too_large_is_sent_again_as_it_was_once_the_limit_is_raised(
    kafka, database, start_service, replay
):
    start_service("writer")
    enricher = start_service("enricher", EVENT_MAX_BYTES="100000", **SMALL)
    large = feeder.event(1, data={"padding": "x" * 150_000})
    headers = [("trace", b"\x00\xff"), ("trace", b"again")]
    send(kafka, b"the key", large, headers)
    send(kafka, None, b"\xff not JSON \x1b[31m", [])
    send(kafka, None, feeder.event(2), [])
    wait_recorded(database, 3)
    status, found, _ = replay("dead-letters", "--list")
    assert status == 0
    withheld, unreadable = found["dead_letters"]
    assert (withheld["offset"], withheld["bytes"], withheld["replays"]) == (0, None, None)
    assert "EVENT_MAX_BYTES" in withheld["reason"]
    assert (unreadable["offset"], unreadable["bytes"]) == (1, 16)

    status, found, _ = replay("dead-letters", "--partition", "0", "--offset", "0", EVENT_MAX_BYTES="100000")
    assert (status, found["replayed"][0]["sent_as"]) == (1, None)
    assert "raise it" in found["replayed"][0]["problem"]

    enricher.stop()
    start_service("enricher", **SMALL)
    status, found, _ = replay(
        "dead-letters", "--all", "--reason", "EVENT_MAX_BYTES", EVENT_MAX_BYTES="200000"
    )
    assert (status, [one["sent_as"] for one in found["replayed"]]) == (0, [3])
    wait_recorded(database, 4)
    sent = read_partition(kafka, kafka.topics.events, 0)[3]
    origin = f"{withheld['topic_id']}/0/0".encode()
    assert (sent.key, sent.value) == (b"the key", large)
    assert list(sent.headers) == [*headers, (REPLAYS_HEADER, origin)]
    body = query.value(
        database.reporter_dsn,
        "SELECT p.body FROM audit.record r JOIN audit.payload p USING (chain_no, seq)"
        " WHERE r.kind = 1 AND r.source_offset = 3",
    )
    assert decode_body(body).value == large

    status, found, _ = replay("dead-letters", "--partition", "0", "--offset", "1")
    assert (status, found["replayed"][0]["sent_as"]) == (0, 4)
    wait_recorded(database, 5)
    again = replay("dead-letters", "--list", "--reason", "UTF-8")[1]["dead_letters"]
    assert [one["replays"] for one in again] == [None, f"{unreadable['topic_id']}/0/1"]


def test_without_a_choice_of_letters_nothing_is_sent(kafka, replay):
    assert replay("dead-letters")[0] == 2
    assert replay("dead-letters", "--all", "--list")[0] == 2
    assert replay("dead-letters", "--partition", "0")[0] == 2
    assert replay("dead-letters", "--all")[:2] == (0, {"replayed": []})
    assert replay("dead-letters", "--list")[:2] == (0, {"dead_letters": []})
