"""Whatever a producer's library does, its events are recorded and nobody else's are held up."""

from services.common.wire_records import OddName
from tests.fault import feeder


def test_events_in_batches_of_every_compression_are_recorded(pipeline):
    for start, compression in enumerate(["gzip", "snappy", "lz4", "zstd"]):
        client = feeder.producer(pipeline.kafka, compression_type=compression)
        for number in range(60 * start, 60 * start + 60):
            client.send(pipeline.kafka.topics.events, value=feeder.event(number), partition=number % 3)
        client.flush()
        client.close()
    pipeline.wait_recorded(240)
    assert pipeline.rows("SELECT count(*) FROM audit_events WHERE kind = 'event'") == [(240,)]


def test_a_header_name_that_is_no_utf_8_is_poison_and_stops_nothing(pipeline):
    odd = OddName(b"\xff\xfe".decode("utf-8", "surrogateescape"))
    for partition, compression in enumerate([None, "zstd"]):
        client = feeder.producer(pipeline.kafka, compression_type=compression, linger_ms=200)
        for number in range(30):
            headers = [(odd, b"1")] if number == 12 else [("plain", b"1")]
            value = feeder.event(30 * partition + number)
            client.send(pipeline.kafka.topics.events, value=value, headers=headers, partition=partition)
        client.flush()
        client.close()
    pipeline.wait_recorded(60)
    assert pipeline.rows("SELECT count(*) FROM audit_events WHERE kind = 'event'") == [(58,)]
    found = pipeline.rows("SELECT kafka_offset, ai_summary FROM audit_events WHERE kind = 'poison'")
    assert [offset for offset, _ in found] == [12, 12]
    assert all("header name" in summary for _, summary in found)


def test_a_harmless_forerunner_of_a_binary_event_does_not_hide_it(pipeline):
    client = feeder.producer(pipeline.kafka)
    for kind in ("page_viewed", "account_deleted", "account_deleted"):
        attributes = {"specversion": "1.0", "id": "x-1", "source": "/apps/web", "type": kind}
        headers = [(f"ce_{name}", text.encode()) for name, text in attributes.items()]
        headers.append(("content-type", b"application/json"))
        client.send(pipeline.kafka.topics.events, value=b'{"user_id":1}', headers=headers, partition=0)
        client.flush()
        pipeline.wait_recorded(feeder.total(pipeline.kafka, pipeline.kafka.topics.events))
    client.close()
    found = pipeline.rows("SELECT event_type, ai_tags FROM audit_events ORDER BY id")
    assert [kind for kind, _ in found] == ["page_viewed", "account_deleted"]
    assert "identity:conflict" in found[1][1]
    assert pipeline.rows("SELECT count(*) FROM audit.record WHERE kind = 2") == [(1,)]
