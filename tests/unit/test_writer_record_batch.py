"""The writer's reader of record batches reads what kafka-python's reads, and what that one cannot."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.protocol.consumer import IsolationLevel
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

from schemas.commitment import decode_body, encode_body
from services.writer.record_batch import PartitionRecords, RecordBatch

optional = st.none() | st.binary(max_size=300)
records = st.lists(
    st.tuples(
        st.integers(0, 2**45),
        optional,
        optional,
        st.lists(st.tuples(st.text(max_size=10), optional), max_size=3),
    ),
    min_size=1,
    max_size=20,
)


def build(items, compression=0) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=compression,
        is_transactional=False,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=2**24,
    )
    for offset, (timestamp, key, value, headers) in enumerate(items):
        builder.append(offset, timestamp=timestamp, key=key, value=value, headers=headers)
    return bytes(builder.build())


def read(kind, raw: bytes) -> list:
    return [
        (r.offset, r.timestamp, r.timestamp_type, r.key, r.value, r.headers, r.size_in_bytes)
        for r in kind(raw)
    ]


@given(records, st.sampled_from([0, 1]))
def test_it_reads_what_kafka_python_reads(items, compression):
    raw = build(items, compression)
    assert read(RecordBatch, raw) == read(DefaultRecordBatch, raw)
    assert RecordBatch(raw).validate_crc()


def test_a_header_name_that_is_no_utf8_keeps_its_bytes():
    raw = build([(1, b"k", b"v", [("ab", b"x")])]).replace(b"\x04ab", b"\x04\xff\xfe")
    [record] = RecordBatch(raw)
    [(name, content)] = record.headers
    assert len(name.encode("utf-8")) == 2
    body = decode_body(encode_body(record.key, record.value, record.headers))
    assert body.headers == [(b"\xff\xfe", b"x")]
    assert content == b"x"


@given(st.integers(61, 400), st.binary(min_size=1, max_size=8))
def test_damaged_batches_are_corrupt_and_nothing_else(place, damage):
    raw = bytearray(build([(1, b"key", b"v" * 200, [("name", b"c" * 100)])] * 2))
    raw[place : place + len(damage)] = damage
    with contextlib.suppress(CorruptRecordError):
        list(RecordBatch(bytes(raw)))


def test_a_cut_batch_is_corrupt():
    raw = build([(1, b"key", b"value", [])])
    with pytest.raises(CorruptRecordError):
        list(RecordBatch(raw[:-1]))


def whole(items, kind, fetch_offset=0, most=None) -> list:
    """What a fetch of one partition comes to, read in portions of `most`."""
    ended = []
    raw = build(items) if items else b""
    reader = kind(
        fetch_offset,
        TopicPartition("t", 0),
        MemoryRecords(raw),
        isolation_level=IsolationLevel.READ_COMMITTED,
        on_drain=ended.append,
    )
    read, rounds = [], 0
    while reader and rounds < 100:
        read += [(r.offset, r.key, r.value, r.headers) for r in reader.take(most)]
        rounds += 1
    return [read, reader.next_fetch_offset, len(ended)]


@given(st.just([]) | records, st.integers(0, 25), st.none() | st.integers(1, 7))
def test_a_fetch_is_handed_over_as_by_kafka_python(items, fetch_offset, most):
    theirs = whole(items, Fetcher.PartitionRecords, fetch_offset, most)
    assert whole(items, PartitionRecords, fetch_offset, most) == theirs
    assert theirs[2] == 1
