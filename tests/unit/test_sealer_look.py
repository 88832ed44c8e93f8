"""The second look: what differs from the topic is seen, in every field and at every place; nothing else is."""

from random import Random

import pytest

from schemas.commitment import decode_body, encode_body, payload_commitment
from schemas.record import RECORD_BYTES, Kind, decode, encode
from schemas.verification.links import Row
from services.writer.sealer.look import Look, Original, Stretch
from tests.chain_rows import ChainRows
from tests.sealing import Sent


def rows_of_all_kinds():
    """Genesis, events, poison, a duplicate, a skip, and an event behind it."""
    chain = ChainRows(first_offset=7).events(4)
    chain.poison()
    chain.duplicate(2)
    chain.skip(3)
    return chain.events(3)


def stretch_of(chain: ChainRows, rows: list[Row] | None = None, **changes) -> Stretch:
    rows = chain.rows if rows is None else rows
    contents = {item.seq: item for item in chain.contents}
    originals, skips = {}, {}
    for row in rows:
        if row.kind == Kind.DUPLICATE:
            first = contents[2]
            salt = chain.original_salts[row.seq]
            originals[row.seq] = Original(payload_commitment(salt, first.body), salt)
        elif row.kind == Kind.SKIP:
            skips[row.seq] = (row.source_offset, row.source_offset + 2)
    fields = {
        "first_seq": rows[0].seq,
        "leaves": b"".join(row.leaf for row in rows),
        "salts": {seq: item.salt for seq, item in contents.items()},
        "originals": originals,
        "skips": skips,
    }
    return Stretch(**(fields | changes))


def messages_of(chain: ChainRows) -> list[Sent]:
    """What the topic held for the chain to come about."""
    contents = {item.seq: item for item in chain.contents}
    found = []
    for row in chain.rows:
        record = decode(row.leaf)
        if row.kind in (Kind.GENESIS, Kind.SKIP):
            continue
        body = decode_body(contents[2 if row.kind == Kind.DUPLICATE else row.seq].body)
        headers = [(name.decode(), value) for name, value in body.headers]
        found.append(
            Sent(row.source_offset, record.kafka_ts_ms, record.kafka_ts_type, body.key, body.value, headers)
        )
    return found


def look(stretch: Stretch, messages: list[Sent], *, at_once: int = 100, end: int | None = None) -> Look:
    made = Look(stretch)
    for start in range(0, len(messages), at_once):
        made.take(messages[start : start + at_once])
    made.reached((messages[-1].offset + 1) if end is None else end)
    return made


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_a_chain_that_says_what_the_topic_holds_is_compared_whole(at_once):
    chain = rows_of_all_kinds()
    made = look(stretch_of(chain), messages_of(chain), at_once=at_once)
    assert (made.mismatch, made.compared, made.done) == (None, len(chain.rows), True)


def test_a_changed_message_is_never_passed_whatever_of_it_changed():
    """Key, value, headers, timestamp, timestamp type, offset: 100 random changes of each at random places."""
    chain = ChainRows().events(30)
    messages, random = messages_of(chain), Random(3)
    changes = {
        "key": lambda old: (old or b"") + b"x",
        "value": lambda old: old[:-1] + b"]" if old else b"x",
        "headers": lambda old: [*old, ("more", None)],
        "timestamp": lambda old: old + random.choice((-1, 1)),
        "timestamp_type": lambda old: 1 - old,
        "offset": lambda old: old + 1000,
    }
    for name, change in changes.items():
        for _ in range(100):
            at = random.randrange(len(messages))
            changed = list(messages)
            changed[at] = messages[at]._replace(**{name: change(getattr(messages[at], name))})
            made = look(stretch_of(chain), changed, end=len(messages) + 1)
            assert made.mismatch is not None, name
            assert made.mismatch.seq == at + 1, name
            assert made.compared == at + 1, name


def test_null_and_empty_are_not_the_same():
    chain = ChainRows()
    for key in (None, b""):
        chain.event(message=Sent(chain.next_offset, 5, 0, key, b"{}", []))
    messages = messages_of(chain)
    assert look(stretch_of(chain), messages).mismatch is None
    messages[0] = messages[0]._replace(key=b"")
    assert look(stretch_of(chain), messages).mismatch.seq == 1


def test_a_changed_record_is_never_passed_whichever_committed_field_changed():
    """What the topic can contradict: offset, timestamp, its type, payload commitment, kind."""
    chain = ChainRows().events(30)
    messages, random = messages_of(chain), Random(4)
    fields = {
        "source_offset": lambda old: old + 1,
        "kafka_ts_ms": lambda old: old ^ 1,
        "kafka_ts_type": lambda old: old ^ 1,
        "payload_commitment": lambda old: bytes([old[0] ^ 1]) + old[1:],
        "kind": lambda _old: Kind.DUPLICATE,
    }
    for name, change in fields.items():
        for _ in range(100):
            at = random.randrange(1, len(chain.rows))
            record = decode(chain.rows[at].leaf)
            leaf = encode(record._replace(**{name: change(getattr(record, name))}))
            rows = [*chain.rows[:at], chain.rows[at]._replace(leaf=leaf), *chain.rows[at + 1 :]]
            made = look(stretch_of(chain, rows), messages)
            assert made.mismatch is not None, name
            assert made.mismatch.seq == at, name


def test_an_event_that_was_left_out_is_found():
    """The chain goes on, dense in its numbers, over an offset at which the topic has a message."""
    chain = ChainRows().events(3)
    chain.next_offset += 1
    chain.events(2)
    messages = messages_of(ChainRows().events(6))
    made = look(stretch_of(chain), messages)
    assert made.mismatch is not None
    assert (made.mismatch.seq, made.compared) == (4, 4)
    assert "offset 3 that no record covers" in made.mismatch.what


def test_a_record_of_a_message_that_never_was_is_found():
    chain = ChainRows().events(5)
    messages = messages_of(chain)
    del messages[2]
    made = look(stretch_of(chain), messages)
    assert (made.mismatch.seq, made.mismatch.what) == (3, "the topic has no message at this offset")


def test_records_behind_the_end_of_the_topic_are_found():
    chain = ChainRows().events(5)
    made = look(stretch_of(chain), messages_of(chain)[:3])
    assert not made.done
    made.ends_at(3)
    assert (made.mismatch.seq, made.compared) == (4, 4)


def test_a_skip_over_what_the_topic_holds_is_found():
    chain = rows_of_all_kinds()
    messages = messages_of(chain)
    skipped = next(row for row in chain.rows if row.kind == Kind.SKIP)
    at = next(i for i, message in enumerate(messages) if message.offset > skipped.source_offset)
    messages.insert(at, messages[0]._replace(offset=skipped.source_offset + 1))
    made = look(stretch_of(chain), messages)
    assert made.mismatch.seq == skipped.seq
    assert "were not delivered, but the topic has a message there" in made.mismatch.what


def test_a_skip_record_whose_payload_is_gone_is_not_passed():
    chain = rows_of_all_kinds()
    made = look(stretch_of(chain, skips={}), messages_of(chain))
    assert made.mismatch.seq == next(row.seq for row in chain.rows if row.kind == Kind.SKIP)


def test_a_missing_payload_is_passed_only_where_its_erasure_is_recorded():
    chain = ChainRows().events(5)
    salts = {item.seq: item.salt for item in chain.contents if item.seq != 3}
    made = look(stretch_of(chain, salts=salts), messages_of(chain))
    assert made.mismatch.seq == 3
    assert "no erasure is recorded" in made.mismatch.what
    made = look(stretch_of(chain, salts=salts, erased=frozenset((2,))), messages_of(chain))
    assert (made.mismatch, made.compared) == (None, 6)


def test_a_duplicate_is_compared_with_its_own_message():
    chain = rows_of_all_kinds()
    messages = messages_of(chain)
    at = next(
        i for i, row in enumerate(r for r in chain.rows if r.kind not in (4, 5)) if row.kind == Kind.DUPLICATE
    )
    messages[at] = messages[at]._replace(value=b"{}")
    made = look(stretch_of(chain), messages)
    assert made.mismatch.seq == next(row.seq for row in chain.rows if row.kind == Kind.DUPLICATE)
    originals = {
        seq: Original(original.commitment, None) for seq, original in stretch_of(chain).originals.items()
    }
    assert look(stretch_of(chain, originals=originals), messages_of(chain)).mismatch is not None


def test_messages_without_a_timestamp_and_with_headers_that_do_not_fit():
    """Absent on the wire is absent in the record; 65,536 headers leave key and value in the commitment."""
    chain = ChainRows()
    chain.event(message=Sent(0, 0, 0, b"k", b"{}", []))
    many = [("h", b"")] * 65_536
    salt = bytes(range(32))
    chain.append(
        Kind.POISON,
        None,
        b"{}",
        salt=salt,
        source_offset=1,
        kafka_ts_type=255,
        payload_commitment=payload_commitment(salt, encode_body(b"k", b"v", ())),
    )
    messages = [Sent(0, 0, 0, b"k", b"{}", []), Sent(1, -1, 0, b"k", b"v", many)]
    made = look(stretch_of(chain), messages)
    assert (made.mismatch, made.compared) == (None, 3)


def test_genesis_alone_needs_no_topic():
    chain = ChainRows()
    made = Look(stretch_of(chain))
    assert (made.done, made.compared, made.first) == (True, 1, None)
    assert len(stretch_of(chain).leaves) == RECORD_BYTES
