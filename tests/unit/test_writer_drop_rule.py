"""The drop rule: every branch, on its own and in the linking."""

import os

import pytest

from schemas.commitment import decode_body
from schemas.record import Kind, decode
from services.writer.drop_rule import Verdict, first_offset, judge
from services.writer.found import Found, Recorded
from tests.builders import Log
from tests.linking import Chained, new_linker


@pytest.mark.parametrize(
    ("expected", "prev", "offset", "verdict"),
    [
        (10, 9, 10, Verdict.IN_ORDER),
        (10, 3, 10, Verdict.IN_ORDER),
        (0, -1, 0, Verdict.IN_ORDER),
        (10, 9, 11, Verdict.AFTER_GAP),
        (10, -1, 11, Verdict.AFTER_GAP),
        (10, 10, 11, Verdict.HOLE),
        (10, 15, 20, Verdict.HOLE),
        (10, 8, 9, Verdict.REPEATED),
        (10, -1, 0, Verdict.REPEATED),
    ],
)
def test_three_numbers_decide(expected, prev, offset, verdict):
    assert judge(expected, prev, offset) is verdict


def test_a_new_chain_begins_behind_prev_or_at_the_first_offset():
    assert first_offset(41, 44) == 42
    assert first_offset(-1, 44) == 44


def test_the_first_message_opens_a_chain_with_a_genesis_record():
    chained = Chained()
    log = Log(partition=3)
    chained.link(log.event(0, -1), log.event(1))
    assert [record.kind for record in chained.records] == [Kind.GENESIS, Kind.EVENT, Kind.EVENT]
    genesis = chained.documents[0]
    assert genesis["topic_id"] == log.topic_id.hex()
    assert (genesis["partition"], genesis["first_offset"], genesis["previous"]) == (3, 0, None)
    assert chained.records[0].prev == bytes(32)


def test_offsets_never_delivered_become_one_skip_record():
    chained, log = Chained(), Log()
    chained.link(log.event(0, -1), log.event(5, 0))
    assert [record.kind for record in chained.records] == [Kind.GENESIS, Kind.EVENT, Kind.SKIP, Kind.EVENT]
    assert chained.documents[2] == {"first": 1, "last": 4, "reason": "not-delivered"}
    assert chained.records[2].source_offset == 1
    assert not chained.alerts


def test_a_hole_after_a_reset_is_expired_and_alerted():
    chained, log = Chained(), Log()
    chained.link(log.event(0, -1), log.event(7, -1, reset=True))
    assert chained.documents[2] == {"first": 1, "last": 6, "reason": "expired"}
    assert [(alert.name, alert.severity) for alert in chained.alerts] == [("source_expired", "critical")]


def test_a_reset_without_a_hole_is_nothing():
    chained, log = Chained(), Log()
    chained.link(log.event(0, -1), log.event(1, -1, reset=True))
    assert [record.kind for record in chained.records][1:] == [Kind.EVENT, Kind.EVENT]
    assert not chained.alerts


def test_what_comes_before_a_hole_is_filled_is_dropped_and_alerted_once():
    chained, log = Chained(), Log()
    chained.link(log.event(0, -1), log.event(5), log.event(6))
    assert chained.offsets() == [0]
    assert [alert.name for alert in chained.alerts] == ["enriched_hole"]
    assert chained.dropped == {"before_a_hole_is_filled": 2}
    assert chained.next_read_offset == 3
    chained.link(*(log.event(offset) for offset in range(1, 8)))
    assert chained.offsets() == list(range(8))


@pytest.mark.parametrize("apart", [False, True], ids=["in one batch", "in the next batch"])
def test_a_redelivery_of_what_is_still_in_memory_is_dropped(apart):
    chained, log = Chained(), Log()
    messages = [log.event(offset, offset - 1) for offset in range(4)]
    if apart:
        chained.link(*messages)
        chained.link(*messages[2:], log.event(4))
    else:
        chained.link(*messages, *messages[1:], log.event(4))
    assert chained.offsets() == [0, 1, 2, 3, 4]
    assert not chained.alerts


def test_a_redelivery_with_new_salts_is_still_the_same():
    chained, log = Chained(), Log()
    chained.link(log.event(0, -1), log.event(1))
    chained.link(log.event(0, -1), log.event(1), log.event(2))
    assert chained.offsets() == [0, 1, 2]


def test_a_redelivery_is_compared_with_the_database():
    chained, log = Chained(), Log()
    chained.link(log.event(0, -1), log.event(1))
    recorded = chained.recorded(log)
    chained.forget()
    chained.link(log.event(1), log.event(2), found=Found(recorded))
    assert chained.offsets() == [0, 1, 2]


def test_a_redelivery_of_an_erased_event_is_known_by_its_time():
    chained, log = Chained(), Log()
    chained.link(log.event(0, -1))
    at = (log.topic_id, 0)
    [known] = chained.recorded(log)[at]
    chained.forget()
    chained.link(log.event(0, -1, value=b'"other"'), found=Found({at: [known._replace(salt=None)]}))
    assert chained.offsets() == [0]


@pytest.mark.parametrize("change", [{"value": b'{"other":1}'}, {"kafka_ts_ms": 5}, {"key": None}])
def test_other_content_at_a_passed_offset_closes_the_chain_and_opens_another(change):
    chained, log = Chained(), Log()
    chained.link(*(log.event(offset, offset - 1) for offset in range(5)))
    chained.link(log.event(2, 1, **change), log.event(3))
    kinds = [record.kind for record in chained.records]
    assert kinds[-4:] == [Kind.CLOSE, Kind.GENESIS, Kind.EVENT, Kind.EVENT]
    closing, genesis = chained.documents[-4], chained.documents[-3]
    old, new = chained.records[-4], chained.records[-3]
    assert closing == {
        "why": "log-rewound",
        "next_chain_id": new.chain_id.hex(),
        "new_topic_id": log.topic_id.hex(),
    }
    assert genesis["first_offset"] == 2
    assert genesis["previous"] == {
        "chain_id": old.chain_id.hex(),
        "last_hash": chained.hashes[-4].hex(),
        "next_seq": old.seq + 1,
        "why": "log-rewound",
    }
    assert [(alert.name, alert.severity) for alert in chained.alerts] == [("log_rewound", "critical")]


def test_an_offset_that_was_skipped_and_comes_after_all_is_not_lost():
    chained, log = Chained(), Log()
    chained.link(log.event(0, -1), log.event(3, 0))
    chained.link(log.event(1, 0))
    assert chained.records[-1].source_offset == 1
    assert chained.records[-2].kind == Kind.GENESIS


def test_after_a_rewind_late_redeliveries_of_the_old_log_are_known_from_the_old_chain():
    chained, log = Chained(), Log()
    old = [log.event(offset, offset - 1) for offset in range(5)]
    chained.link(*old)
    chained.link(log.event(3, 2, value=b'"new 3"'), log.event(4, 3, value=b'"new 4"'), old[4], old[1])
    assert chained.dropped == {"redelivered": 2}
    assert [record.kind for record in chained.records].count(Kind.GENESIS) == 2


def test_another_topic_id_closes_the_chain_and_opens_one_that_names_it():
    chained, old, new = Chained(), Log(), Log()
    chained.link(old.event(0, -1), old.event(1))
    chained.link(new.event(0, -1), new.event(1))
    assert [record.kind for record in chained.records][3:] == [
        Kind.CLOSE,
        Kind.GENESIS,
        Kind.EVENT,
        Kind.EVENT,
    ]
    assert chained.documents[3]["why"] == "topic-recreated"
    assert chained.documents[4]["topic_id"] == new.topic_id.hex()
    assert chained.documents[4]["previous"]["next_seq"] == 4
    assert [alert.name for alert in chained.alerts] == ["topic_recreated"]


def test_a_late_redelivery_of_the_old_topic_is_dropped_not_chained_again():
    chained, old, new = Chained(), Log(), Log()
    sent = [old.event(0, -1), old.event(1)]
    chained.link(*sent, new.event(0, -1), *sent, new.event(1))
    assert [record.kind for record in chained.records].count(Kind.GENESIS) == 2
    assert chained.dropped == {"redelivered": 2}


def test_a_late_new_event_of_the_old_topic_is_recorded_in_a_chain_of_its_own():
    chained, old, new = Chained(), Log(), Log()
    chained.link(old.event(0, -1), new.event(0, -1), old.event(1), new.event(1))
    assert [record.kind for record in chained.records].count(Kind.GENESIS) == 4
    assert chained.offsets() == [0, 0, 1, 1]


def test_a_hole_in_the_old_topic_is_a_hole_still():
    chained, old, new = Chained(), Log(), Log()
    chained.link(old.event(0, -1), new.event(0, -1), old.event(5, 4))
    assert chained.dropped == {"before_a_hole_is_filled": 1}


def test_a_message_without_our_header_moves_nothing_and_is_alerted():
    chained, log = Chained(), Log()
    good = log.event(0, -1)
    bad = good._replace(headers=[("piperoll", b"\1short")])
    chained.link(good, bad, good._replace(headers=[]), log.event(1))
    assert chained.offsets() == [0, 1]
    assert [alert.name for alert in chained.alerts] == ["enriched_unreadable"] * 2
    assert len({alert.id for alert in chained.alerts}) == 2


@pytest.mark.parametrize("flaw", ["kind", "partition", "order"])
def test_a_header_that_contradicts_itself_is_not_believed(flaw):
    chained, log = Chained(), Log()
    message = {
        "kind": lambda: log.event(1, kind=7),
        "partition": lambda: Log(log.topic_id, partition=9).event(1),
        "order": lambda: log.event(1, 1),
    }[flaw]()
    chained.link(log.event(0, -1), message)
    assert chained.offsets() == [0]
    assert chained.dropped == {"unreadable": 1}


def test_time_never_goes_backwards_within_a_chain():
    chained, log = Chained(), Log()
    chained.now = 5_000
    chained.link(log.event(0, -1))
    chained.now = 1_000
    chained.link(log.event(1))
    assert [record.appended_us for record in chained.records] == [5_000, 5_000, 5_000]


def test_every_record_commits_to_its_body_and_enrichment():
    chained, log = Chained(), Log()
    message = log.event(0, -1, headers=(("piperoll", b"theirs"), ("trace", None)))
    chained.link(message)
    body = decode_body(chained.payloads[1].body)
    assert (body.key, body.value) == (message.key, message.value)
    assert body.headers == [(b"piperoll", b"theirs"), (b"trace", None)]
    assert chained.commitments_hold()


def test_a_linker_needs_no_database_to_start():
    linker = new_linker(os.urandom(16))
    assert linker.chain is None
    assert decode  # the records above were read by the contract's own decoder
    assert Recorded(1, b"", None).is_same(1, None)
