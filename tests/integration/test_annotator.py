"""The annotator as a process on a real broker, asking a stand-in for OpenAI over real HTTP."""

import asyncio
import json
import time
from collections import Counter, defaultdict
from contextlib import closing

import asyncpg
import msgspec
import pytest
from click.testing import CliRunner
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from schemas.enrichment import RISKS, Enrichment, Who
from services.cli.__main__ import load
from services.cli.ai_usage import read_usage
from services.common.ai.vocabulary import load_vocabulary
from services.common.kafka import admin_client, client_options
from tests.builders import Log
from tests.standins import openai_server as standin
from tests.standins.openai_server import OpenAiStandIn

PARTITIONS = 3
CANARIES = "AKIAIOSFODNN7CANARY0 ghp_CANARYabcdefghijklmnopqrstuvwxyz0123 canary@corp.example 203.0.113.77"


@pytest.fixture
def server():
    with OpenAiStandIn() as running:
        yield running


class Stage:
    """Writes events as the enricher would, runs annotators, and reads what they write."""

    def __init__(self, kafka, server, start_service) -> None:
        self.kafka = kafka
        self.server = server
        self._start = start_service
        self.topic_id = b"\7" * 16
        self._logs = [Log(self.topic_id, partition) for partition in range(PARTITIONS)]
        self._offsets = [0] * PARTITIONS
        self._producer = KafkaProducer(**client_options(kafka, "tests"), acks="all")

        self._reader = KafkaConsumer(**client_options(kafka, "tests"))
        self._admin = admin_client(kafka, "tests")
        self._positions = defaultdict(int)
        self._found = defaultdict(list)

    def close(self) -> None:
        for client in (self._producer, self._reader, self._admin):
            client.close()

    def event(
        self, partition=0, *, data=None, risk="high", token=None, pending=True, timestamp_ms=None, **fields
    ):
        """One enriched event; returns (partition, source offset)."""
        offset = self._offsets[partition]
        self._offsets[partition] += 1
        self.again(partition, offset, data, risk, token, pending, timestamp_ms, **fields)
        return partition, offset

    def again(
        self, partition, offset, data=None, risk="high", token=None, pending=True, timestamp_ms=None, **fields
    ):
        document = Enrichment(
            "structured",
            "/a",
            f"id-{partition}-{offset}",
            "t",
            "As rules say.",
            risk,
            ["rule:tag"],
            pending=pending,
        )
        for name, content in fields.items():
            setattr(document, name, content)
        event = {
            "specversion": "1.0",
            "id": document.id,
            "source": document.source,
            "type": document.type,
            "data": data or {"n": offset},
        }
        headers = () if token is None else (("piperoll-reply", token.encode()),)
        message = self._logs[partition].event(
            offset,
            value=json.dumps(event).encode(),
            enrichment=msgspec.json.encode(document),
            headers=headers,
        )
        self._producer.send(
            self.kafka.topics.enriched,
            message.value,
            message.key,
            partition=partition,
            headers=message.headers,
            timestamp_ms=timestamp_ms,
        ).get(10)

    def events(self, count, **fields):
        return {self.event(number % PARTITIONS, **fields) for number in range(count)}

    def annotator(self, **variables):
        return self._start("enricher", "annotator", **(self.server.variables() | variables)).wait_ready()

    def read(self, topic):
        """All messages of a topic so far, as (partition, JSON)."""
        partitions = [TopicPartition(topic, number) for number in self._reader.partitions_for_topic(topic)]
        self._reader.assign(partitions)
        found = self._found[topic]
        for tp in partitions:
            self._reader.seek(tp, self._positions[tp])
        ends = self._reader.end_offsets(partitions)
        while any(self._positions[tp] < ends[tp] for tp in partitions):
            for tp, records in self._reader.poll(timeout_ms=200).items():
                found += [(record.partition, json.loads(record.value)) for record in records]
                self._positions[tp] = records[-1].offset + 1
        return found

    def annotations(self):
        """By (partition, offset); the latest."""
        return {
            (said["partition"], said["offset"]): said for _, said in self.read(self.kafka.topics.annotations)
        }

    def own_events(self, kind):
        return [said["data"] for _, said in self.read(self.kafka.topics.system) if said["type"] == kind]

    def passed_by(self):
        """Reason by (partition, offset)."""
        return {
            (said["partition"], offset): said["reason"]
            for said in self.own_events("piperoll.annotator.passed-by")
            for first, last in said["ranges"]
            for offset in range(first, last + 1)
        }

    def replies(self):
        return {said["token"]: said for _, said in self.read(self.kafka.topics.replies)}

    def committed(self):
        """Sum of the group's committed offsets on audit.enriched."""
        group = self.kafka.topics.group("annotator")
        return sum(meta.offset for meta in self._admin.list_group_offsets(group)[group].values())

    def until(self, done, timeout=60.0, service=None):
        deadline = time.monotonic() + timeout
        while not done():
            assert time.monotonic() < deadline, service.log() if service else "not in time"
            time.sleep(0.2)


def kafka_variables(settings):
    return {
        name: str(value) for name, value in settings.model_dump(by_alias=True, exclude_unset=True).items()
    }


@pytest.fixture
def stage(kafka, server, start_service):
    made = Stage(kafka, server, start_service)
    yield made
    made.close()


def test_every_event_is_annotated_under_its_own_partition_and_every_request_is_on_record(stage):
    events = stage.events(65, who=Who(actor="bob"))
    service = stage.annotator()
    stage.until(lambda: stage.annotations().keys() == events, service=service)
    for partition, said in stage.read(stage.kafka.topics.annotations):
        assert said["partition"] == partition
        assert said["topic_id"] == stage.topic_id.hex()
        assert said["summary"].startswith("bob did t as number")
        assert (said["model"], said["by"], said["run"]) == ("stand-in", "stand-in", "")
        assert (said["prompt_version"], said["tags"], said["risk"]) == ("annotate-1", ["data:export"], "high")
    requests = stage.own_events("model_inference")
    assert len(requests) == len(stage.server.requests) < 20
    assert {said["outcome"] for said in requests} == {"answered"}
    stage.until(lambda: stage.committed() == 65, service=service)
    assert service.stop() == 0
    assert stage.passed_by() == {}


def test_without_a_key_the_process_says_so_and_ends_with_2(stage, start_service):
    service = start_service("enricher", "annotator", OPENAI_API_KEY="", AZURE_OPENAI_ENDPOINT="")
    assert service.wait() == 2
    assert "set OPENAI_API_KEY" in service.log()


def test_an_obedient_model_and_planted_instructions_let_nothing_through_the_schema(stage, shared_data):
    """The instructions of others, in every place of an event; the model repeats them and adds markup, tags, fields."""
    lines = (shared_data / "prompt-injections.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines[::9]]
    stage.server.behave(standin.obedient)
    for number, text in enumerate(texts):
        data = {
            "note": text,
            text[:60]: "x",
            "list": [text],
            "password": f"CANARY-{number}",
            CANARIES: CANARIES,
        }
        fields = {"summary": text[:900], "type": text[:100], "source": text[:100], "subject": text[:100]}
        stage.event(number % PARTITIONS, data=data, token=f"t{number}", risk="high", **fields)
    service = stage.annotator(LOG_FORMAT="json")
    stage.until(lambda: len(stage.annotations()) == len(texts), service=service)
    vocabulary = set(load_vocabulary())
    for said in stage.annotations().values():
        assert set(said) == {
            "topic_id", "partition", "offset", "model", "prompt_version", "run", "summary", "tags", "risk", "by",
        }  # fmt: skip
        assert said["by"] == "stand-in"
        assert said["risk"] in RISKS
        assert set(said["tags"]) <= vocabulary
        assert said["summary"].isprintable()
        assert len(said["summary"]) <= 400
        assert not set(said["summary"]) & set("<>{}`*|")
        assert "://" not in said["summary"]
    replies = stage.replies()
    assert len(replies) == len(texts)
    assert {said["risk"] for said in replies.values()} == {"high"}
    assert all("rule:tag" in said["tags"] for said in replies.values())
    prompts = stage.server.prompts()
    assert not [canary for canary in ["CANARY", *CANARIES.split()] if canary in prompts]
    assert "CANARY" not in service.log() + str(replies) + str(stage.annotations())
    assert all("\x1b" not in line and json.loads(line) for line in service.log().splitlines())


def test_a_model_that_is_away_holds_nothing_up_and_catches_up_when_it_is_back(stage):
    stage.server.behave(standin.cut)
    events = stage.events(30)
    service = stage.annotator()
    stage.until(lambda: len(stage.server.requests) >= 4, service=service)
    assert stage.committed() == 0
    stage.server.behave(standin.failing, times=1)
    events |= stage.events(30)
    stage.until(lambda: stage.annotations().keys() == events, service=service)
    assert stage.passed_by() == {}
    outcomes = Counter(said["outcome"] for said in stage.own_events("model_inference"))
    assert outcomes["away"] >= 4
    assert "ai_stopped" in service.log()
    assert "ai_resumed" in service.log()


def test_a_model_that_stays_away_too_long_is_passed_by_and_every_event_named(stage):
    stage.server.behave(standin.failing)
    events = {stage.event(0) for _ in range(9)}
    waiting = stage.event(0, token="t1")
    service = stage.annotator(AI_GIVE_UP_AFTER="1")
    stage.until(lambda: stage.passed_by().keys() == events | {waiting}, service=service)
    assert set(stage.passed_by().values()) == {"away"}
    stage.until(lambda: stage.replies().keys() == {"t1"}, service=service)
    assert stage.replies()["t1"] | {"token": "", "id": ""} == {
        "token": "", "id": "", "summary": "As rules say.", "tags": ["rule:tag"], "risk": "high", "by": "rules",
        "pending": False,
    }  # fmt: skip
    stage.until(lambda: stage.committed() == 10, service=service)


def test_a_refused_key_stops_the_asking_and_says_what_to_fix_without_the_key(stage):
    stage.server.behave(standin.key_refused)
    stage.events(60)
    service = stage.annotator()
    stage.until(lambda: "ai_stopped" in service.log(), service=service)
    time.sleep(3)
    assert len(stage.server.requests) <= 4  # those under way at the same time
    assert stage.committed() == 0
    assert "set OPENAI_API_KEY" in service.log()
    assert "sk-stand-in-key" not in service.log()
    assert service.stop() == 0
    assert stage.annotations() == {}


def test_killed_in_mid_flow_every_event_is_annotated_and_repeats_have_the_same_name(stage):
    events = stage.events(60)
    stage.server.behave(standin.slow(0.15))
    for _ in range(2):
        service = stage.annotator(AI_WINDOW_EVENTS="20", AI_CONCURRENCY="2", AI_EVENTS_PER_REQUEST="5")
        seen = len(stage.annotations())
        stage.until(lambda seen=seen: len(stage.annotations()) > min(seen + 10, 50), service=service)
        service.kill()
    service = stage.annotator()
    stage.until(lambda: stage.annotations().keys() == events and stage.committed() == 60, service=service)
    names = defaultdict(set)
    for _, said in stage.read(stage.kafka.topics.annotations):
        names[said["partition"], said["offset"]].add(
            (said["topic_id"], said["model"], said["prompt_version"], said["run"])
        )
    assert all(len(found) == 1 for found in names.values())


async def test_from_the_event_to_the_view_by_shape_and_by_event(stage, database, start_service):
    """Enricher, annotator and writer together. A new shape is read once, late for its first events and at once for those
    that follow; a grave event is read for itself by a model that lowers, and lowers nothing."""
    stage.server.behave(standin.lowering)
    variables = stage.server.variables()
    started = [
        start_service("enricher", **variables).wait_ready(),
        start_service("enricher", "annotator", **variables).wait_ready(),
        start_service("writer", WRITER_BATCH_AGE_MS="20"),
    ]
    forged = {
        "specversion": "1.0",
        "id": "1",
        "source": "piperoll/forged",
        "type": "odd",
        "data": {"user_id": 5},
    }

    def export(number):
        data = {
            "user_id": f"u{number}",
            "dataset_id": "d",
            "export_time": "2026-05-01T12:00:00Z",
            "export_reason": "r",
        }
        return {"specversion": "1.0", "id": f"e{number}", "source": "/a", "type": "data_export", "data": data}

    connection = await asyncpg.connect(database.reporter_dsn)
    query = (
        "SELECT event_id, ai_summary, summary_by, risk, risk_floor, risk_ai, ai_tags, ai_pending FROM audit_events "
        "ORDER BY event_id"
    )

    async def rows(count):
        deadline = time.monotonic() + 60
        while len(found := await connection.fetch(query)) < count or any(row["ai_pending"] for row in found):
            assert time.monotonic() < deadline, "\n".join(service.log() for service in started)
            await asyncio.sleep(0.2)
        return {row["event_id"]: row for row in found}

    try:
        with closing(KafkaProducer(**client_options(stage.kafka, "tests"), acks="all")) as producer:
            for event in [forged, export(1)]:
                producer.send(stage.kafka.topics.events, json.dumps(event).encode()).get(10)
            await rows(2)
            asked = len(stage.server.requests)
            for number in range(2, 30):
                producer.send(stage.kafka.topics.events, json.dumps(export(number)).encode()).get(10)
        found = await rows(30)
    finally:
        await connection.close()
    assert asked == len(stage.server.requests) == 2
    grave = found["1"]
    assert grave["ai_summary"].endswith("5 did odd as number 0.")
    assert (grave["summary_by"], grave["risk"], grave["risk_floor"], grave["risk_ai"]) == (
        "stand-in", "high", "high", "informational",
    )  # fmt: skip
    assert "source:reserved" in grave["ai_tags"]
    for number in range(1, 30):
        row = found[f"e{number}"]
        assert row["ai_summary"].startswith(f"User u{number} exported dataset d")
        assert f"Somebody did data_export with u{number}" in row["ai_summary"]
        assert row["summary_by"] == "stand-in"
    late = {(said["partition"], said["offset"]) for _, said in stage.read(stage.kafka.topics.annotations)}
    assert len(late) == 2  # the others came with the event
    usage = (await read_usage(database.reporter_dsn, 0)).as_json()
    assert (usage["requests"], usage["answered"], usage["events"]) == (2, 2, 30)
    assert (usage["share_ai"], usage["cache_hit_rate"]) == (1.0, round(28 / 29, 6))
    assert usage["called_lower_by_ai"] == 30
    assert usage["requests_without_price"] == 2


def test_enrich_again_adds_readings_of_a_run_of_its_own(stage, monkeypatch):
    """Over what the annotator has read already, by another model; nothing but annotations and records of requests comes of it."""
    events = {stage.event(0), stage.event(1)} | {
        stage.event(0, risk="low", log_source="unknown", who=Who(actor=f"u{n}"), pending=False)
        for n in range(5)
    }
    variables = stage.server.variables() | kafka_variables(stage.kafka)
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    found = CliRunner().invoke(
        load("enrich"), ["again", "--since", "2020-01-01", "--model", "other", "--json"]
    )
    assert found.exit_code == 0, found.output
    said = json.loads(found.stdout)
    assert (said["model"], said["messages"], said["annotations"], said["passed_by"]) == ("other", 7, 7, 0)
    assert said["requests"] == len(stage.server.requests) <= 3  # one for the shape
    annotations = stage.annotations()
    assert annotations.keys() == events
    assert {(one["model"], one["run"]) for one in annotations.values()} == {("other", said["run"])}


def test_annotators_under_one_budget_never_exceed_it(stage):
    """Each asks for all that it can; the log of the budget lets 9 through, whoever they are, also after a kill."""
    stage.server.behave(standin.slow(0.05))
    events = stage.events(120)
    limits = {"AI_MAX_REQUESTS_PER_MONTH": "9", "AI_EVENTS_PER_REQUEST": "1", "AI_CONCURRENCY": "4"}
    services = [stage.annotator(**limits) for _ in range(2)]
    stage.until(lambda: len(stage.server.requests) >= 3, service=services[0])
    services[0].kill()
    services[0] = stage.annotator(**limits)
    stage.until(lambda: stage.annotations().keys() | stage.passed_by().keys() == events, service=services[0])
    assert len(stage.server.requests) <= 9
    assert "budget" in stage.passed_by().values()
    alerts = [
        said for _, said in stage.read(stage.kafka.topics.alerts) if said["name"] == "ai_budget_reached"
    ]
    assert len({said["id"] for said in alerts}) == 1
