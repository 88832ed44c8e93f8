"""Batches end where they should, and what is fetched is never taken for what it is not."""

from types import SimpleNamespace

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import FatalError
from services.enricher.ledger import Ledger
from services.enricher.poll_size import PollSize
from services.enricher.records import PlainRecords, TolerantRecords
from services.enricher.transport import BatchConsumer, BatchLimits, Cursor, split, start_of


def record(size):
    return SimpleNamespace(key=None, value=bytes(size))


@pytest.mark.parametrize("topic", ["events", "others"])
def test_a_record_of_a_batched_topic_says_of_itself_what_aiokafkas_own_says(monkeypatch, topic):
    builder = BatchBuilder(10_000, 0)
    for number in range(3):
        builder.append(
            timestamp=1000 + number, key=None if number else b"k", value=b"v", headers=[("h", b"x")]
        )
    monkeypatch.setattr(PlainRecords, "topics", frozenset({"events"}))
    read = list(
        PlainRecords(TP(topic, 1), TolerantRecords(bytes(builder._build())), [], 1, None, None, True, 1)
    )
    assert [(r.offset, r.timestamp, r.timestamp_type, r.key, r.value, list(r.headers)) for r in read] == [
        (number, 1000 + number, 0, None, b"v", [("h", b"x")]) for number in (1, 2)
    ]
    assert hasattr(read[0], "topic") is (topic == "others")


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=50), st.integers(1, 10), st.integers(200, 9000))
def test_batches_keep_order_and_limits(sizes, events, limit):
    records = [record(size) for size in sizes]
    parts = split(records, BatchLimits(events, limit))
    assert [item for part in parts for item in part] == records
    for part in parts:
        assert 1 <= len(part) <= events
        weight = sum(len(item.value) + 100 for item in part)
        assert weight <= limit or len(part) == 1


@given(st.lists(st.integers(0, 2_000_000), min_size=1, max_size=30), st.integers(1, 20_000))
def test_what_is_taken_next_is_about_as_many_bytes_as_wanted(sizes, most):
    poll = PollSize(most, 8_000_000)
    assert 1 <= poll.records <= min(most, 64)
    poll.note([record(size) for size in sizes])
    assert 1 <= poll.records <= most
    mean = sum(size + 100 for size in sizes) / len(sizes)
    assert poll.records == 1 or poll.records * mean <= 8_000_000
    if poll.records < most:
        assert (poll.records + 1) * mean > 8_000_000
    before = poll.records
    poll.note([])
    assert poll.records == before


@pytest.mark.parametrize(
    ("committed", "expected"),
    [
        (None, Cursor(10, -1, reset=True)),
        (40, Cursor(40, 39, reset=False)),
        (10, Cursor(10, 9, reset=False)),
        (100, Cursor(100, 99, reset=False)),
        (5, Cursor(10, 4, reset=True)),
        (101, Cursor(10, 9, reset=True)),
    ],
)
def test_a_partition_begins_where_its_commit_is_if_the_log_has_it(committed, expected):
    assert start_of(committed, earliest=10, end=100) == expected


class Thread:
    """The consumer's thread: answers at once; `meanwhile` is what happens while it is asked."""

    def __init__(self, committed=400):
        self.meanwhile = lambda: None
        self.sought = []
        self._committed = committed

    async def committed(self, tp):
        self.meanwhile()
        return self._committed, ""

    async def seek_to(self, tp, offset):
        self.sought.append((tp.partition, offset))
        return True


@pytest.fixture
def consumer():
    """A BatchConsumer without Kafka: what is fetched comes from the test."""
    made = object.__new__(BatchConsumer)
    made.ledger, made._cursor, made._epoch = Ledger(), {}, {}
    made._read_offset, made._committed_offset = {}, {}
    made._thread = Thread()

    class Ids:
        async def id_of(self, name, *, age_s=1.0):
            return bytes(16)

    made.app = SimpleNamespace(ids=Ids(), batch_limits=BatchLimits(1000, 10**6), batched_topics={"events"})

    async def bounds(self, *places):
        return dict.fromkeys(places, 0 if self == "earliest" else 1000)

    made.earliest_offsets = lambda *places: bounds("earliest", *places)
    made.highwaters = lambda *places: bounds("end", *places)
    return made


def fetched(first, last):
    return [SimpleNamespace(offset=offset, key=None, value=bytes(10)) for offset in range(first, last + 1)]


PLACE = TP("events", 1)


async def test_what_is_fetched_before_the_start_is_known_is_fetched_again_from_there(consumer):
    assert await consumer._to_batches(PLACE, fetched(500, 599), 0) == []
    assert consumer._thread.sought == [(1, 400)]
    (batch,) = await consumer._to_batches(PLACE, fetched(400, 449), 0)
    assert (batch.prev, batch.reset, batch.range.first, batch.range.last) == (399, False, 400, 449)


async def test_records_of_before_a_rebalance_are_never_taken_for_those_after_it(consumer):
    consumer._cursor[PLACE] = Cursor(500, 499, reset=False)
    epochs = dict(consumer._epoch)
    consumer._start_anew([PLACE])  # a whole rebalance while the fetch was under way
    assert await consumer._to_batches(PLACE, fetched(500, 599), epochs.get(PLACE, 0)) == []
    assert consumer._thread.sought == [(1, 400)]
    assert await consumer._to_batches(PLACE, fetched(400, 410), epochs.get(PLACE, 0)) == []
    assert (await consumer._to_batches(PLACE, fetched(400, 410), consumer._epoch[PLACE]))[0].prev == 399


async def test_a_rebalance_while_the_start_is_looked_for_leaves_it_unknown(consumer):
    consumer._thread.meanwhile = lambda: consumer._start_anew([PLACE])
    await consumer._to_batches(PLACE, fetched(400, 449), 0)
    assert PLACE not in consumer._cursor


async def test_a_log_that_goes_backwards_ends_the_process(consumer):
    consumer._cursor[PLACE] = Cursor(500, 499, reset=False)
    with pytest.raises(FatalError, match="went back"):
        await consumer._to_batches(PLACE, fetched(10, 20), 0)


async def test_a_hole_says_reset_only_where_the_log_begins_behind_it(consumer):
    consumer._cursor[PLACE] = Cursor(500, 499, reset=False)
    (batch,) = await consumer._to_batches(PLACE, fetched(520, 530), 0)
    assert (batch.prev, batch.reset) == (499, False)

    async def late(*places):
        return dict.fromkeys(places, 600)

    consumer.earliest_offsets = late
    (batch,) = await consumer._to_batches(PLACE, fetched(600, 610), 0)
    assert (batch.prev, batch.reset) == (530, True)
