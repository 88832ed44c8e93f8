"""Four annotators under one budget; whatever is killed: each event is recorded once, annotated once or named, and nothing is spent
beyond the limits."""

import asyncio
import time
from collections import Counter

import asyncpg
import pytest

from services.common.ai.budget_log import KafkaBudgetLog
from services.common.settings import KafkaSettings
from tests.fault import feeder
from tests.fault.oracle import assert_every_event_once, read_partition
from tests.integration.test_annotator import Stage
from tests.standins import openai_server as standin
from tests.standins.openai_server import OpenAiStandIn

WORKERS, TURNS, EACH = 4, 10, 60
DOLLARS, PER_MILLION_TOKENS = 1.0, 10.0
SMALL = {
    "AI_EVENTS_PER_REQUEST": "2",
    "AI_WINDOW_EVENTS": "30",
    "AI_MAX_REQUESTS_PER_MONTH": "1000",
    "AI_MAX_DOLLARS_PER_MONTH": str(DOLLARS),
    "ENRICHER_BATCH_EVENTS": "20",
    "ENRICHER_COMMIT_INTERVAL": "0.2",
}


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kafka", [{"partitions": 6}], indirect=True)
async def test_kill_9_anywhere_with_four_annotators_exceeds_no_budget_and_records_each_event_once(
    kafka, database, start_service, tmp_path
):
    prices = tmp_path / "prices.yaml"
    rate = f"{{input: {PER_MILLION_TOKENS}, output: {PER_MILLION_TOKENS}}}"
    prices.write_text(f"date: 2026-11-26\nmodels: {{stand-in: {rate}}}\n")
    with OpenAiStandIn() as server:
        server.behave(standin.slow(0.15))
        variables = server.variables() | SMALL | {"AI_PRICES_FILE": str(prices)}
        stage = Stage(kafka, server, start_service)
        started = {
            "enricher": start_service("enricher", **variables),
            "writer": start_service("writer", WRITER_BATCH_AGE_MS="50"),
        } | {f"annotator {n}": stage.annotator(**variables) for n in range(WORKERS)}

        def restart(name):
            started[name].kill()
            service, *arguments = {"writer": ["writer"], "enricher": ["enricher"]}.get(
                name, ["enricher", "annotator"]
            )
            started[name] = start_service(service, *arguments, **variables)

        try:
            for turn in range(TURNS):
                _send(kafka, turn * EACH)
                await asyncio.sleep(1 + turn % 3)
                restart(f"annotator {turn % WORKERS}")
                if turn % 3 == 1:
                    restart("enricher" if turn % 2 else "writer")
            await asyncio.to_thread(_wait_done, stage, started)
            await _wait_recorded(database.reporter_dsn, TURNS * EACH)
        finally:
            stage.close()
        assert_every_event_once(kafka)
        await _assert_within_limits(kafka, server)
        assert "budget" in stage_reasons(kafka), "the budget was never reached: the test shows nothing"
    await _assert_annotated_once(database.reporter_dsn)


def _send(kafka, start):
    """Events of high risk, by a source that is reserved: a model reads each for itself."""
    client = feeder.producer(kafka)
    for number in range(start, start + EACH):
        value = feeder.event(number, source="piperoll/forged")
        client.send(kafka.topics.events, value=value, partition=number % kafka.partitions)
    client.flush()
    client.close()


def _wait_done(stage, started):
    """Until every event has an annotation or is named as passed by."""
    deadline = time.monotonic() + 300
    wanted = TURNS * EACH
    while len(stage.annotations().keys() | stage.passed_by().keys()) < wanted:
        assert time.monotonic() < deadline, "\n".join(service.log()[-2000:] for service in started.values())
        time.sleep(1)


async def _wait_recorded(dsn, count):
    connection = await asyncpg.connect(dsn)
    try:
        deadline = time.monotonic() + 120
        while (found := await connection.fetchval("SELECT count(*) FROM audit_events")) < count:
            assert time.monotonic() < deadline, f"{found} of {count} are recorded"
            await asyncio.sleep(0.5)
        ids = await connection.fetch("SELECT event_id, count(*) AS n FROM audit_events GROUP BY 1")
        assert {row["n"] for row in ids} == {1}
        assert len(ids) == count
    finally:
        await connection.close()


async def _assert_within_limits(kafka, server):
    """By what the server was asked, and by the budget's log."""
    tokens = sum(_tokens(body) for body in server.requests)
    assert tokens * PER_MILLION_TOKENS / 1e6 <= DOLLARS
    log = await asyncio.to_thread(KafkaBudgetLog, kafka, "tests")
    spent = (await log.catch_up()).spent
    await asyncio.to_thread(log.close)
    assert sum(micro for _, _, micro in spent.values()) <= DOLLARS * 1e6
    assert len(server.requests) <= sum(requests for requests, _, _ in spent.values())


def _tokens(body):
    """At least what the stand-in says that it took."""
    return sum(len(message["content"]) for message in body["messages"]) // 4


def stage_reasons(kafka: KafkaSettings):
    """Why events were passed by."""
    return Counter(
        reason
        for message in read_partition(kafka, kafka.topics.system, 0)
        for reason in ("budget", "away", "slow", "invalid")
        if b"passed-by" in message.value and f'"reason":"{reason}"'.encode() in message.value
    )


async def _assert_annotated_once(dsn):
    """Repeats of an annotation, which a crash leads to, are not recorded twice."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            "SELECT count(*) AS n FROM audit.annotation GROUP BY topic_id, partition, source_offset"
        )
    finally:
        await connection.close()
    assert rows
    assert {row["n"] for row in rows} == {1}
