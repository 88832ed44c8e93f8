"""Whatever happens to an enricher, every event of audit.events has exactly one place in audit.enriched."""

import os
import signal
import subprocess
import sys
import time

import pytest

from deploy.local import processes
from services.common.kafka import create_topics
from services.common.settings import KafkaSettings
from tests.fault import feeder
from tests.fault.oracle import assert_every_event_once, read_partition, replay
from tests.new_broker import new_broker
from tests.service_process import ROOT

SMALL = {"ENRICHER_BATCH_EVENTS": "50", "ENRICHER_COMMIT_INTERVAL": "0.2"}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("stops", [6, pytest.param(20, marks=pytest.mark.long)])
def test_stops_in_mid_batch_lose_nothing(kafka, start_service, stops):
    with feeder.Feeder(kafka, per_second=600):
        for turn in range(stops):
            enricher = start_service("enricher", **SMALL)
            feeder.wait_grown(kafka, 30)
            enricher.signal(signal.SIGTERM if turn % 2 else signal.SIGINT)
            assert enricher.wait() == 0, enricher.log()
    start_service("enricher", **SMALL)
    feeder.wait_drained(kafka)
    assert_every_event_once(kafka)


def test_kill_9_in_mid_flow_loses_nothing(kafka, start_service):
    with feeder.Feeder(kafka):
        for _ in range(3):
            victim, _other = start_service("enricher", **SMALL), start_service("enricher", **SMALL)
            feeder.wait_grown(kafka, 300)
            victim.kill()
            feeder.wait_grown(kafka, 100)
            _other.kill()
    start_service("enricher", **SMALL)
    feeder.wait_drained(kafka)
    assert_every_event_once(kafka)


def test_a_zombie_that_wakes_after_its_partitions_went_to_another_hides_nothing(kafka, start_service):
    with feeder.Feeder(kafka):
        zombie = start_service("enricher", **SMALL).wait_ready()
        feeder.wait_grown(kafka, 200)
        zombie.signal(signal.SIGSTOP)
        start_service("enricher", **SMALL)
        feeder.wait_grown(kafka, 500)  # only after the session of the stopped one has ended
        zombie.signal(signal.SIGCONT)
        feeder.wait_grown(kafka, 500)
    feeder.wait_drained(kafka)
    assert_every_event_once(kafka)


def test_a_storm_of_rebalances_loses_nothing(kafka, start_service):
    with feeder.Feeder(kafka):
        start_service("enricher", **SMALL).wait_ready()
        for turn in range(6):
            guest = start_service("enricher", **SMALL)
            if turn % 3 == 0:
                feeder.wait_grown(kafka, 50)
            else:
                time.sleep(1.0 + 0.4 * turn)
            guest.kill() if turn % 2 else guest.signal(signal.SIGTERM)
    feeder.wait_drained(kafka)
    assert_every_event_once(kafka)


@pytest.mark.parametrize("kafka", [{"partitions": 1}], indirect=True)
def test_aborted_transactions_are_skipped_and_never_enriched(kafka, start_service):
    transactional = feeder.producer(kafka, transactional_id=f"tx-{kafka.topic_prefix}")
    transactional.init_transactions()
    for turn in range(6):
        transactional.begin_transaction()
        for number in range(5):
            transactional.send(kafka.topics.events, value=feeder.event(turn * 10 + number), partition=0)
        transactional.flush()
        transactional.abort_transaction() if turn % 2 else transactional.commit_transaction()
    transactional.close()
    start_service("enricher", **SMALL)
    feeder.wait_until(lambda: len(read_partition(kafka, kafka.topics.enriched, 0)) >= 15)
    outcome = replay(read_partition(kafka, kafka.topics.enriched, 0))
    sent = read_partition(kafka, kafka.topics.events, 0)
    assert outcome.recorded == [message.offset for message in sent]
    assert len(outcome.recorded) == 15
    assert outcome.skipped
    assert outcome.expired == []


@pytest.mark.parametrize("kafka", [{"partitions": 1}], indirect=True)
def test_what_expired_before_it_was_read_is_told_from_a_lawful_hole(kafka, start_service):
    from kafka import KafkaAdminClient, TopicPartition  # noqa: PLC0415 - only here

    feeder.send(kafka, 100)
    enricher = start_service("enricher", **SMALL)
    feeder.wait_drained(kafka)
    enricher.stop()
    feeder.send(kafka, 100, start=100)
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    admin.delete_records({TopicPartition(kafka.topics.events, 0): 150})
    admin.close()
    start_service("enricher", **SMALL)
    feeder.wait_drained(kafka)
    outcome = replay(read_partition(kafka, kafka.topics.enriched, 0))
    assert outcome.expired == list(range(100, 150))
    assert outcome.recorded == [*range(100), *range(150, 200)]


@pytest.mark.parametrize("kafka", [{"partitions": 1}], indirect=True)
def test_a_topic_made_anew_ends_the_process_and_is_read_from_its_start_after_it(kafka, start_service):
    from services.common.kafka import admin_client, create_topics  # noqa: PLC0415 - only here

    feeder.send(kafka, 100)
    enricher = start_service("enricher", **SMALL)
    feeder.wait_drained(kafka)
    admin = admin_client(kafka, "test")
    admin.delete_topics([kafka.topics.events])
    feeder.wait_until(lambda: kafka.topics.events not in admin.list_topics())
    create_topics(kafka)
    admin.close()
    feeder.send(kafka, 40, start=500)
    assert enricher.wait(30) == 1, enricher.log()
    start_service("enricher", **SMALL)
    new = {feeder.event(number) for number in range(500, 540)}
    feeder.wait_until(
        lambda: new <= {message.value for message in read_partition(kafka, kafka.topics.enriched, 0)}
    )


def test_a_compacted_topic_is_refused_at_start(kafka, start_service):
    from kafka.admin import ConfigResource, ConfigResourceType  # noqa: PLC0415 - only here

    from services.common.kafka import admin_client  # noqa: PLC0415 - only here

    admin = admin_client(kafka, "test")
    change = {"cleanup.policy": "compact"}
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, kafka.topics.events, configs=change)])
    admin.close()
    enricher = start_service("enricher")
    assert enricher.wait(30) == 2
    assert "compacted" in enricher.log()


def test_an_exception_in_the_agent_ends_the_process_and_commits_nothing_of_its_batch(
    kafka, start_service, tmp_path
):
    feeder.send(kafka, 900)
    variables = {
        name: str(text) for name, text in kafka.model_dump(by_alias=True, exclude_unset=True).items()
    }
    ended = subprocess.run(
        [sys.executable, "-m", "tests.fault.raising_enricher"],
        env=os.environ | variables | SMALL,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    assert "a rule that raises" in ended.stderr
    first = replay(read_partition(kafka, kafka.topics.enriched, 0))
    assert max(first.recorded) < 120
    start_service("enricher", **SMALL)
    feeder.wait_drained(kafka)
    assert_every_event_once(kafka)


def test_a_broker_that_stops_acknowledging_ends_the_process_and_nothing_is_lost(
    start_service, open_folder, tmp_path
):
    broker = new_broker(open_folder / f"frozen-{tmp_path.name}")
    handle = broker.start()
    try:
        broker.wait_ready(handle)
        kafka = KafkaSettings(bootstrap_servers=broker.address, partitions=2, session_timeout_ms=3000)
        create_topics(kafka)
        variables = {
            "KAFKA_BOOTSTRAP_SERVERS": broker.address,
            "KAFKA_SESSION_TIMEOUT_MS": "3000",
            "TOPIC_PREFIX": kafka.topic_prefix,
            "ENRICHER_ACK_TIMEOUT": "4",
        }
        with feeder.Feeder(kafka):
            enricher = start_service("enricher", **SMALL, **variables)
            feeder.wait_grown(kafka, 200)
            os.killpg(handle.pid, signal.SIGSTOP)
            assert enricher.wait(60) == 1, enricher.log()
            os.killpg(handle.pid, signal.SIGCONT)
        start_service("enricher", **SMALL, **variables)
        feeder.wait_drained(kafka)
        assert_every_event_once(kafka)
    finally:
        os.killpg(handle.pid, signal.SIGCONT)
        processes.stop(handle, grace=5)


def test_an_enricher_with_nothing_to_do_is_not_taken_for_a_dead_one(kafka, start_service, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    idle = start_service("enricher", **SMALL, ENRICHER_ACK_TIMEOUT="3", TMPDIR=str(temporary))
    idle.wait_ready()
    time.sleep(12)  # several looks of the watch, at partitions from which nothing was ever fetched
    feeder.send(kafka, 30)
    feeder.wait_drained(kafka)
    time.sleep(12)  # and at partitions that are read to their end
    feeder.send(kafka, 30, start=30)
    feeder.wait_drained(kafka)
    assert idle.stop() == 0, idle.log()
    assert list(temporary.iterdir()) == []
    assert_every_event_once(kafka)
