"""A batch is complete only when the broker has acknowledged all of it; after a failure nothing is sent."""

import asyncio
from types import SimpleNamespace

import pytest

from schemas.commitment import encode_body, payload_commitment
from schemas.enrichment import FLAG_RESET, FLAG_WITHHELD, decode_header
from schemas.topics import Topics
from services.common.errors import FatalError
from services.enricher.ledger import Range
from services.enricher.metrics import Metrics
from services.enricher.pipeline import Pipeline
from services.enricher.transport import Batch
from tests.shipped import shipped_enricher


class FakeBuilder(list):
    """Full after five messages, as a record batch is after so many bytes."""

    def append(self, *, timestamp, key, value, headers):
        if len(self) == 5:
            return None
        super().append((key, value, headers))
        return object()

    def record_count(self):
        return len(self)


class FakeProducer:
    """Keeps what is sent; the test resolves the acks."""

    def __init__(self):
        self.sent = []
        self.acks = []
        self.keys = []

    def create_batch(self):
        return FakeBuilder()

    async def send_batch(self, builder, topic, *, partition):
        self.sent.append((topic, partition, list(builder)))
        self.acks.append(asyncio.get_running_loop().create_future())
        return self.acks[-1]

    async def send(self, topic, value, *, key=None):
        self.sent.append((topic, None, [value]))
        self.keys.append(key)
        sent = asyncio.get_running_loop().create_future()
        sent.set_result(None)
        return sent

    def acknowledge(self):
        for ack in self.acks:
            if not ack.done():
                ack.set_result(None)

    def messages(self, topic):
        return [message for name, _, batch in self.sent if name == topic for message in batch]


def record(offset, value=b'{"event_type":"x","event_data":{}}', headers=(), key=None):
    return SimpleNamespace(
        offset=offset, key=key, value=value, headers=headers, timestamp=1_780_000_000_000, timestamp_type=0
    )


def batch(records, prev=-1, reset=False):
    return Batch(
        "audit.events",
        bytes(16),
        2,
        prev,
        reset,
        records,
        Range(records[0].offset, records[-1].offset, 0.0),
    )


@pytest.fixture
def parts():
    producer, completed, failures = FakeProducer(), [], []
    pipeline = Pipeline(
        shipped_enricher(event_limit=2000),
        producer,
        Topics(),
        Metrics(),
        complete=completed.append,
        fail=failures.append,
        in_flight=2,
        ack_timeout_s=0.2,
    )
    return SimpleNamespace(pipeline=pipeline, producer=producer, completed=completed, failures=failures)


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_batch_is_complete_only_after_every_ack(parts):
    done = []
    sent = batch([record(offset) for offset in range(7)])
    await parts.pipeline.take(sent, lambda: done.append(1))
    assert [(topic, len(messages)) for topic, _, messages in parts.producer.sent] == [
        ("audit.enriched", 5),
        ("audit.enriched", 2),
        ("audit.counts", 1),
    ]
    parts.producer.acks[1].set_result(None)
    await settle()
    assert (parts.completed, done) == ([], [])
    parts.producer.acks[2].set_result(None)
    await settle()
    assert (parts.completed, done) == ([], [])
    parts.producer.acks[0].set_result(None)
    await settle()
    assert (parts.completed, done) == ([sent], [1])


async def test_each_header_names_the_offset_fetched_before_and_only_the_first_says_reset(parts):
    await parts.pipeline.take(batch([record(4), record(5), record(9)], prev=3, reset=True), lambda: None)
    headers = [decode_header(message[2][-1][1]) for message in parts.producer.messages("audit.enriched")]
    assert [(header.offset, header.prev, header.flags & FLAG_RESET) for header in headers] == [
        (4, 3, FLAG_RESET),
        (5, 4, 0),
        (9, 5, 0),
    ]
    assert (
        len({header.payload_salt for header in headers} | {header.enrichment_salt for header in headers}) == 6
    )


async def test_key_value_and_headers_go_on_as_they_came_with_ours_last(parts):
    came = (("a", b"1"), ("piperoll", b"not ours"), ("b", None))
    await parts.pipeline.take(batch([record(0, b'{"x":1}', came, key=b"k")]), lambda: None)
    key, value, headers = parts.producer.messages("audit.enriched")[0]
    assert (key, value, tuple(headers[:-1])) == (b"k", b'{"x":1}', came)
    assert headers[-1][0] == "piperoll"


async def test_poison_goes_on_and_is_a_dead_letter_with_reason_and_origin(parts):
    await parts.pipeline.take(batch([record(7, b"\xff not JSON", (("h", b"1"),))]), lambda: None)
    assert parts.producer.messages("audit.enriched")[0][1] == b"\xff not JSON"
    _, value, headers = parts.producer.messages("audit.dead-letters")[0]
    assert value == b"\xff not JSON"
    assert dict(headers)["piperoll-origin"] == b"00000000000000000000000000000000/2/7"
    assert b"JSON" in dict(headers)["piperoll-reason"]


async def test_what_is_over_the_limit_goes_on_without_its_bytes_but_with_their_commitment(parts):
    large = record(0, b'"' + b"x" * 3000 + b'"', (("h", b"1"),), key=b"k")
    await parts.pipeline.take(batch([large]), lambda: None)
    key, value, headers = parts.producer.messages("audit.enriched")[0]
    header = decode_header(headers[-1][1])
    assert (key, value, len(headers)) == (None, None, 1)
    assert header.flags & FLAG_WITHHELD
    body = encode_body(large.key, large.value, large.headers)
    assert header.payload_commitment == payload_commitment(header.payload_salt, body)
    assert parts.producer.messages("audit.dead-letters")[0][1] is None


async def test_headers_that_no_body_can_hold_are_poison_committed_to_without_them(parts):
    many = record(0, b"{}", (("", b""),) * 65_536, key=b"k")
    await parts.pipeline.take(batch([many]), lambda: None)
    _, value, headers = parts.producer.messages("audit.enriched")[0]
    header = decode_header(headers[-1][1])
    assert (value, header.kind, header.flags & FLAG_WITHHELD) == (None, 3, FLAG_WITHHELD)
    assert header.payload_commitment == payload_commitment(header.payload_salt, encode_body(b"k", b"{}", ()))


async def test_without_an_ack_in_time_the_process_must_end_and_nothing_more_is_sent(parts):
    await parts.pipeline.take(batch([record(0)]), lambda: None)
    await asyncio.sleep(0.3)
    assert isinstance(parts.failures[0], FatalError)
    with pytest.raises(FatalError):
        await parts.pipeline.take(batch([record(1)], prev=0), lambda: None)
    assert len(parts.producer.messages("audit.enriched")) == 1
    assert parts.completed == []


async def test_a_failed_batch_ends_the_process_before_a_later_one_completes(parts):
    await parts.pipeline.take(batch([record(0)]), lambda: None)
    parts.producer.acks[0].set_exception(ConnectionError("gone"))
    await settle()
    assert isinstance(parts.failures[0], ConnectionError)
    assert parts.completed == []


async def test_no_more_than_the_limit_waits_for_acks(parts):
    await parts.pipeline.take(batch([record(0)]), lambda: None)
    await parts.pipeline.take(batch([record(1)], prev=0), lambda: None)
    third = asyncio.create_task(parts.pipeline.take(batch([record(2)], prev=1), lambda: None))
    await settle()
    assert len(parts.producer.messages("audit.enriched")) == 2
    parts.producer.acknowledge()
    await settle()
    assert len(parts.producer.messages("audit.enriched")) == 3
    third.cancel()
    parts.producer.acknowledge()
    await settle()


async def test_a_waiting_ingest_gets_its_reply_after_the_ack(parts):
    await parts.pipeline.take(batch([record(0, headers=(("piperoll-reply", b"tok"),))]), lambda: None)
    assert parts.producer.messages("audit.replies") == []
    parts.producer.acknowledge()
    await settle()
    assert b'"token":"tok"' in parts.producer.messages("audit.replies")[0]
    assert parts.failures == []
    assert parts.producer.keys == [b"tok"]  # by which ingest knows its own


async def test_a_reply_token_that_no_ingest_made_is_not_answered(parts):
    """Anybody who may write to audit.events sets headers: a reply that the broker refuses for its size would end all
    replies to come, since an idempotent producer does not get over it."""
    await parts.pipeline.take(
        batch(
            [
                record(0, headers=(("piperoll-reply", b"t" * 550_000),)),
                record(1, headers=(("piperoll-reply", None),)),
            ]
        ),
        lambda: None,
    )
    parts.producer.acks[0].set_result(None)
    await settle()
    assert parts.producer.messages("audit.replies") == []
    assert len(parts.producer.messages("audit.enriched")) == 2
