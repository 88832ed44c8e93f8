"""The real parts that the tests stand on."""

import asyncpg
import pytest
from kafka import KafkaConsumer, KafkaProducer

from services.common.kafka import client_options


def test_a_message_goes_through_the_broker(kafka):
    producer = KafkaProducer(**client_options(kafka, "tests"))
    producer.send(kafka.topics.events, b"value", key=b"key").get(timeout=10)
    producer.close()
    consumer = KafkaConsumer(
        kafka.topics.events,
        **client_options(kafka, "tests"),
        group_id=kafka.topics.group("tests"),
        auto_offset_reset="earliest",
        session_timeout_ms=kafka.session_timeout_ms,
        heartbeat_interval_ms=1000,
    )
    try:
        assert next(consumer).value == b"value"
    finally:
        consumer.close()


@pytest.mark.parametrize("kafka", [{"partitions": 1}], indirect=True)
def test_the_number_of_partitions_can_be_chosen(kafka):
    producer = KafkaProducer(**client_options(kafka, "tests"))
    try:
        assert producer.partitions_for(kafka.topics.events) == {0}
    finally:
        producer.close()


async def test_the_database_server_takes_only_passwords(postgres_server):
    connection = await asyncpg.connect(postgres_server)
    await connection.close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres_server.replace("super-secret", "guessed"))
