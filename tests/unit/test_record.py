"""The record is injective, fixed-width and bound to every byte."""

from hypothesis import given
from hypothesis import strategies as st

from schemas import commitment, record
from schemas.enrichment import Header, decode_header, encode_header

i64 = st.integers(-(2**63), 2**63 - 1)
u64 = st.integers(0, 2**64 - 1)


def hashes(size=32):
    return st.binary(min_size=size, max_size=size)


records = st.builds(
    record.Record,
    kind=st.integers(0, 255),
    chain_id=hashes(16),
    seq=u64,
    prev=hashes(),
    writer_epoch=st.integers(0, 2**32 - 1),
    appended_us=i64,
    source_offset=i64,
    kafka_ts_ms=i64,
    kafka_ts_type=st.integers(0, 255),
    event_time_us=i64,
    event_id=hashes(),
    producer_id=hashes(16),
    producer_seq=u64,
    payload_commitment=hashes(),
    enrichment_commitment=hashes(),
)
headers = st.lists(st.tuples(st.text(max_size=8), st.none() | st.binary(max_size=8)), max_size=4)
opt = st.none() | st.binary(max_size=16)


@given(records)
def test_a_record_reads_back_as_it_was(made):
    leaf = record.encode(made)
    assert len(leaf) == record.RECORD_BYTES == 227
    assert record.decode(leaf) == made


@given(records, st.integers(0, 226), st.integers(1, 255))
def test_any_changed_byte_changes_the_hash(made, place, change):
    leaf = bytearray(record.encode(made))
    before = record.record_hash(bytes(leaf))
    leaf[place] ^= change
    assert record.record_hash(bytes(leaf)) != before


@given(records, records)
def test_two_records_have_the_same_bytes_only_if_they_are_equal(one, other):
    assert (record.encode(one) == record.encode(other)) == (one == other)


@given(opt, opt, headers)
def test_a_body_reads_back_as_it_was(key, value, items):
    body = commitment.decode_body(commitment.encode_body(key, value, items))
    assert body == (key, value, [(name.encode(), content) for name, content in items])


@given(st.tuples(opt, opt, headers), st.tuples(opt, opt, headers))
def test_two_messages_have_the_same_body_only_if_they_are_equal(one, other):
    assert (commitment.encode_body(*one) == commitment.encode_body(*other)) == (one == other)


@given(
    st.builds(
        Header,
        flags=st.integers(0, 255),
        kind=st.integers(0, 255),
        topic_id=hashes(16),
        partition=st.integers(0, 2**32 - 1),
        offset=i64,
        prev=i64,
        kafka_ts_ms=i64,
        kafka_ts_type=st.integers(0, 255),
        event_time_us=i64,
        producer_seq=u64,
        producer_id=hashes(16),
        event_id=hashes(),
        identity_hash=i64,
        payload_salt=hashes(),
        enrichment_salt=hashes(),
        payload_commitment=hashes(),
        enrichment=st.binary(max_size=64),
    )
)
def test_a_header_reads_back_as_it_was(made):
    assert decode_header(encode_header(made)) == made
