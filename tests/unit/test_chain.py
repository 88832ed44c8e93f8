"""Whatever is changed in a chain is found: in the right place, and called what it is."""

from copy import copy
from functools import cache
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import record
from schemas.chain import ChainVerifier
from schemas.record import Kind
from schemas.verification.ends import compare_succession
from schemas.verification.findings import Change, Part
from tests.chain_rows import ChainRows

AT = 50


few = settings(max_examples=50, deadline=None)


@cache
def _built():
    made = ChainRows(first_offset=7).events(20)
    made.poison()
    made.withheld()
    made.duplicate(3)
    made.skip(5)
    return made.events(100)


def chain():
    """125 records of all kinds that a chain of events has; record 50 is an event."""
    made = copy(_built())
    made.rows, made.contents, made.random = list(made.rows), list(made.contents), Random(5)
    return made


def verify(made, *, head=None, contents=True, size=17):
    verifier = ChainVerifier(made.info, made.head if head is None else head)
    for start in range(0, made.count + 5, size):
        within = range(start, start + size)
        payloads = [item for item in made.contents if item.seq in within] if contents else None
        verifier.feed([row for row in made.rows if row.seq in within], payloads)
    return verifier.finish()


def said(result):
    """(change, part, seq) of each finding."""
    return [(finding.change, finding.part, finding.seq) for finding in result.findings]


def edit_leaf(made, at, *, rehash=False, **fields):
    row = made.rows[at]
    leaf = record.encode(record.decode(row.leaf)._replace(**fields))
    made.rows[at] = row._replace(leaf=leaf)
    if rehash:
        made.rows[at] = made.rows[at]._replace(record_hash=record.record_hash(leaf))


@pytest.mark.parametrize("contents", [True, False])
@pytest.mark.parametrize("size", [1, 2, 17, 1000])
def test_an_untouched_chain_is_good_in_ranges_of_any_size(contents, size):
    result = verify(chain(), contents=contents, size=size)
    assert result.findings == []
    assert result.records == 125
    assert (result.first_offset, result.next_offset) == (7, 7 + 128)
    assert result.kinds == {Kind.GENESIS: 1, Kind.EVENT: 120, Kind.POISON: 2, Kind.DUPLICATE: 1, Kind.SKIP: 1}
    assert result.with_contents is contents


FIELDS = {
    "kind": 3,
    "chain_id": bytes(16),
    "seq": 77,
    "prev": bytes(32),
    "writer_epoch": 9,
    "appended_us": 5,
    "source_offset": 999,
    "kafka_ts_ms": 3,
    "kafka_ts_type": 1,
    "event_time_us": 4,
    "event_id": bytes(32),
    "producer_id": bytes(16),
    "producer_seq": 4,
    "payload_commitment": bytes(32),
    "enrichment_commitment": bytes(32),
}


@pytest.mark.parametrize("rehash", [False, True])
@pytest.mark.parametrize("field", FIELDS)
def test_an_edited_field_of_a_record_is_named(field, rehash):
    """With its stored hash left or rewritten. Only kafka_ts_ms has no second copy: then no field is named."""
    made = chain()
    original = made.rows[AT].record_hash
    edit_leaf(made, AT, rehash=rehash, **{field: FIELDS[field]})
    result = verify(made)
    assert said(result)[0] == (Change.EDITED, Part.RECORD, AT)
    assert result.findings[0].fields == (() if field == "kafka_ts_ms" else (field,))
    assert result.findings[0].restored == (None if field == "kafka_ts_ms" else original)
    assert len(result.findings) == 1


@few
@given(st.integers(0, 124), st.integers(0, 226), st.integers(1, 255), st.booleans())
def test_any_changed_byte_of_any_leaf_is_found_at_its_record(at, place, change, rehash):
    made = chain()
    leaf = bytearray(made.rows[at].leaf)
    leaf[place] ^= change
    made.rows[at] = made.rows[at]._replace(leaf=bytes(leaf))
    if rehash:
        made.rows[at] = made.rows[at]._replace(record_hash=record.record_hash(bytes(leaf)))
    result = verify(made)
    first = result.findings[0]
    assert first.seq == at
    if at == 124 and rehash and not first.fields:
        assert first.part in (Part.HEAD, Part.RECORD)  # the two cannot be told apart
    else:
        assert (first.change, first.part) in {(Change.EDITED, Part.RECORD), (Change.REORDERED, Part.RECORD)}


@few
@given(st.integers(0, 124), st.sampled_from(["salt", "body", "enrich_salt", "enrich"]), st.data())
def test_any_changed_byte_of_any_payload_row_is_found_at_its_record(at, column, data):
    made = chain()
    content = made.contents[at]
    raw = getattr(content, column)
    if raw is None:
        return
    if content.body is None and column == "salt":
        return  # a withheld body: only the enricher's commitment is kept, the salt is checked by the second look
    changed = bytearray(raw)
    changed[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    made.contents[at] = content._replace(**{column: bytes(changed)})
    part = Part.ENRICHMENT if column.startswith("enrich") else Part.PAYLOAD
    found = said(verify(made))
    if content.body is None:
        assert (Change.EDITED, part, at) in found
    else:
        assert found == [(Change.EDITED, part, at)]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("kind", 3),
        ("source_offset", 999),
        ("source_offset", None),
        ("appended_us", 5),
        ("event_time_us", None),
        ("identity_hash", 5),
        ("identity_hash", None),
        ("record_hash", bytes(32)),
    ],
)
def test_an_edited_column_is_named_and_the_leaf_called_whole(column, value):
    made = chain()
    made.rows[AT] = made.rows[AT]._replace(**{column: value})
    result = verify(made)
    assert said(result) == [(Change.EDITED, Part.COLUMN, AT)]
    assert result.findings[0].fields == (column,)


def test_a_moved_payload_row_is_found():
    made = chain()
    made.contents[AT] = made.contents[AT]._replace(appended_us=5)
    assert verify(made).findings[0].fields == ("payload.appended_at",)


@pytest.mark.parametrize("renumber", [False, True])
@few
@given(first=st.integers(1, 115), count=st.integers(1, 9))
def test_deleted_records_are_named_with_their_offsets_and_times(renumber, first, count):
    """Also when the rows behind them are renumbered to close the gap."""
    made = chain()
    rows = made.rows
    before, after = rows[first - 1], rows[first + count]
    del rows[first : first + count]
    if renumber:
        rows[first:] = [row._replace(seq=row.seq - count) for row in rows[first:]]
    result = verify(made)
    finding = result.findings[0]
    assert (finding.change, finding.seq, finding.last_seq) == (Change.DELETED, first, first + count - 1)
    assert finding.last_offset == after.source_offset - 1
    assert (finding.appended_us, finding.until_us) == (before.appended_us, after.appended_us)
    assert len(result.findings) == 1


def test_a_deleted_genesis_is_found():
    made = chain()
    del made.rows[0]
    assert said(verify(made)) == [(Change.DELETED, Part.RECORD, 0)]


@few
@given(st.integers(1, 124))
def test_a_cut_tail_is_found_against_the_head(count):
    made = chain()
    del made.rows[-count:]
    result = verify(made)
    assert said(result) == [(Change.TRUNCATED, Part.RECORD, 125 - count)]
    assert result.findings[0].last_seq == 124


def test_a_cut_tail_is_not_seen_when_the_head_is_set_back_too():
    """The limit of a chain alone, shown: only a checkpoint kept elsewhere finds this."""
    made = chain()
    del made.rows[-10:]
    del made.contents[-10:]
    last = made.rows[-1]
    head = made.head._replace(
        next_seq=115, last_hash=last.record_hash, next_source_offset=last.source_offset + 1
    )
    assert verify(made, head=head).good


def test_a_chain_without_any_record_is_truncated_from_the_start():
    made = chain()
    head = made.head
    made.rows.clear()
    result = verify(made, head=head)
    assert said(result) == [(Change.TRUNCATED, Part.RECORD, 0)]


@few
@given(first=st.integers(1, 110), distance=st.integers(1, 12))
def test_swapped_records_are_called_reordered(first, distance):
    """Both places are named, near to each other or far apart."""
    made = chain()
    one, two = made.rows[first], made.rows[first + distance]
    made.rows[first], made.rows[first + distance] = two._replace(seq=one.seq), one._replace(seq=two.seq)
    result = verify(made)
    assert {finding.change for finding in result.findings} == {Change.REORDERED}
    places = {finding.seq for finding in result.findings} | {finding.last_seq for finding in result.findings}
    assert {one.seq, two.seq} <= places


@few
@given(at=st.integers(30, 110), count=st.integers(1, 5))
def test_inserted_records_are_named_and_the_true_ones_behind_them_are_not(at, count):
    """Forged with right links and hashes, the true rows renumbered to make room."""
    made = chain()
    rows, last_hash, forged = made.rows, made.rows[at - 1].record_hash, []
    for number in range(at, at + count):
        fields = record.decode(rows[number].leaf)._replace(prev=last_hash, seq=number, event_time_us=7)
        leaf = record.encode(fields)
        last_hash = record.record_hash(leaf)
        forged.append(rows[number]._replace(leaf=leaf, record_hash=last_hash, event_time_us=7))
    rows[at:] = forged + [row._replace(seq=row.seq + count) for row in rows[at:]]
    expected = [(Change.INSERTED, Part.RECORD, number) for number in range(at, at + count)]
    assert said(verify(made, contents=False)) == expected


def test_records_put_in_behind_the_head_are_found():
    made = chain()
    head = made.head
    made.events(3)
    result = verify(made, head=head)
    assert said(result) == [(Change.INSERTED, Part.RECORD, 125)]
    assert result.findings[0].last_seq == 127


def test_a_rewritten_end_of_the_chain_is_seen_at_the_head():
    made = chain()
    edit_leaf(made, 124, rehash=True, event_time_us=7)
    assert said(verify(made))[0] == (Change.EDITED, Part.RECORD, 124)


@pytest.mark.parametrize(
    ("field", "value"),
    [("next_seq", 300), ("last_hash", bytes(32)), ("next_source_offset", 3), ("epoch", 0), ("closed", True)],
)
def test_an_edited_head_is_found(field, value):
    made = chain()
    result = verify(made, head=made.head._replace(**{field: value}))
    assert said(result) == [(Change.EDITED, Part.HEAD, 124)]
    assert result.findings[0].fields == (field,)


def test_a_missing_head_is_found():
    made = chain()
    verifier = ChainVerifier(made.info, None)
    verifier.feed(made.rows, made.contents)
    assert said(verifier.finish()) == [(Change.DELETED, Part.HEAD, None)]


def test_a_payload_that_is_gone_without_an_erasure_record_is_found():
    made = chain()
    del made.contents[AT]
    assert said(verify(made)) == [
        (Change.MISSING, Part.PAYLOAD, AT),
        (Change.MISSING, Part.ENRICHMENT, AT),
    ]


@pytest.mark.parametrize("column", ["salt", "body", "enrich_salt", "enrich"])
def test_a_payload_column_that_is_gone_is_found(column):
    made = chain()
    made.contents[AT] = made.contents[AT]._replace(**{column: None})
    part = Part.ENRICHMENT if column.startswith("enrich") else Part.PAYLOAD
    assert said(verify(made)) == [(Change.MISSING, part, AT)]


def test_payload_rows_under_numbers_without_a_record_are_found():
    made = chain()
    made.contents.append(made.contents[-1]._replace(seq=126))
    assert said(verify(made)) == [(Change.INSERTED, Part.PAYLOAD, 126)]


def test_two_payload_rows_for_one_record_are_found():
    made = chain()
    made.contents.insert(AT, made.contents[AT]._replace(appended_us=5))
    assert said(verify(made)) == [(Change.INSERTED, Part.PAYLOAD, AT)]


def test_offsets_that_had_expired_are_never_green():
    made = chain()
    made.skip(4, "expired")
    made.event()
    result = verify(made)
    assert said(result) == [(Change.EXPIRED, Part.RECORD, 125)]
    assert (result.findings[0].source_offset, result.findings[0].last_offset) == (135, 138)
    assert (result.expired_offsets, result.skipped_offsets) == (4, 9)


@pytest.mark.parametrize(
    ("step", "places", "words"),
    [(3, [11], "no record covers these"), (-2, [11, 12], "covers a source offset again")],
)
def test_offsets_left_out_or_covered_twice_are_found_in_a_chain_whose_links_are_right(step, places, words):
    made = ChainRows().events(10)
    made.next_offset += step
    made.events(10)
    result = verify(made)
    assert said(result) == [(Change.UNCOVERED, Part.RECORD, at) for at in places]
    assert words in result.findings[0].detail


@pytest.mark.parametrize("contents", [True, False])
def test_a_time_or_epoch_that_goes_back_is_found(contents):
    made = ChainRows(epoch=2).events(10)
    made.step_us = 0
    made.event()
    made.epoch = 1
    made.event()
    made.epoch = 2
    result = verify(made, contents=contents)
    assert said(result) == [(Change.DISORDERED, Part.RECORD, 11), (Change.DISORDERED, Part.RECORD, 12)]
    assert [finding.fields for finding in result.findings] == [("appended_us",), ("writer_epoch",)]


def test_a_record_behind_the_close_record_is_found():
    made = ChainRows().events(2)
    made.close(bytes(16))
    made.event()
    assert said(verify(made)) == [(Change.DISORDERED, Part.RECORD, 4)]


def test_a_chain_row_that_is_not_what_genesis_says_is_found():
    made = ChainRows().events(2)
    verifier = ChainVerifier(made.info._replace(partition=4, topic="other"), made.head)
    verifier.feed(made.rows, made.contents)
    result = verifier.finish()
    assert said(result) == [(Change.EDITED, Part.CHAIN, 0)]
    assert result.findings[0].fields == ("topic", "partition")


def test_an_identity_that_the_enrichment_holds_only_in_part_is_taken_from_the_event():
    source = "urn:" + "x" * 3000
    made = ChainRows()
    made.event(source=source, shown_source=source[:2047] + "…")
    assert verify(made).findings == []


@pytest.mark.parametrize("kind", [Kind.ANNOTATION, Kind.OWN_EVENT])
def test_an_edited_identity_on_our_own_topics_is_found(kind):
    made = ChainRows(topic="audit.system")
    made.annotation() if kind == Kind.ANNOTATION else made.own_event()
    assert verify(made).findings == []
    made.rows[1] = made.rows[1]._replace(identity_hash=5)
    result = verify(made)
    assert said(result) == [(Change.EDITED, Part.COLUMN, 1)]
    assert result.findings[0].fields == ("identity_hash",)


def test_chains_that_follow_each_other_name_each_other():
    old = ChainRows(chain_no=1, seed=1).events(5)
    new_id = ChainRows(chain_no=2, seed=2).chain_id
    old.close(new_id)
    ending = {
        "chain_id": old.chain_id.hex(),
        "last_hash": old.last_hash.hex(),
        "next_seq": old.count,
        "why": "topic-recreated",
    }
    new = ChainRows(chain_no=2, seed=2, previous=ending, previous_no=1).events(5)
    assert compare_succession([verify(old), verify(new)]) == []
    gone = compare_succession([verify(new)])
    assert [(item.change, item.chain_no) for item in gone] == [(Change.BROKEN_SUCCESSION, 2)]
    assert "a whole chain is gone" in gone[0].detail
    cut = compare_succession([verify(old)])
    assert [(item.change, item.chain_no) for item in cut] == [(Change.BROKEN_SUCCESSION, 1)]
    ending["last_hash"] = bytes(32).hex()
    other = ChainRows(chain_no=2, seed=2, previous=ending, previous_no=1).events(5)
    assert [item.fields for item in compare_succession([verify(old), verify(other)])] == [
        ("last_hash", "next_seq")
    ]


def test_a_chain_with_every_leaf_edited_is_judged_in_bounded_time_and_findings_are_counted():
    made = ChainRows().events(6000)
    for at in range(1, 6001):
        edit_leaf(made, at, kafka_ts_ms=5)
    result = verify(made, size=1000)
    assert result.found == 6000
    assert len(result.findings) == 1000


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 120), min_size=2, max_size=4, unique=True), st.integers(1, 40))
def test_several_changes_are_all_found(places, size):
    made = chain()
    for at in places:
        edit_leaf(made, at, kafka_ts_ms=5)
    assert {finding.seq for finding in verify(made, size=size).findings} == set(places)
