"""audit.annotations and audit.system: no header, read offset and source offset the same, repeats known by name."""

import os
from functools import partial

import pytest

from schemas.record import ABSENT, Kind
from services.writer.items import OwnReader
from tests.builders import Message, annotation, own_event
from tests.linking import Chained

TOPIC = os.urandom(16)
EVENTS = os.urandom(16)


def reader(prev: int = -1, *, reset: bool = False) -> OwnReader:
    return OwnReader(TOPIC, 0, prev, reset=reset)


def message(value: bytes | None, key: bytes | None = None) -> Message:
    return Message(key, value, [])


def test_an_annotation_is_recorded_as_it_came_and_names_its_event():
    chained = Chained(by_name=True)
    value = annotation(EVENTS, 2, 77)
    chained.link(message(value, b"k"), to_item=reader().annotation)
    assert chained.records[1].kind == Kind.ANNOTATION
    assert chained.records[1].enrichment_commitment == bytes(32)
    [row] = chained.annotations
    assert row.target == (EVENTS, 2, 77)
    assert row.seq == 1
    assert chained.commitments_hold()


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"summary": "other words"}, Kind.DUPLICATE),
        ({"risk": "critical"}, Kind.DUPLICATE),
        ({"run": "2"}, Kind.ANNOTATION),
        ({"model": "large-model"}, Kind.ANNOTATION),
        ({"prompt_version": "2"}, Kind.ANNOTATION),
        ({"offset": 78}, Kind.ANNOTATION),
    ],
)
def test_the_name_alone_makes_an_annotation_a_duplicate(change, kind):
    chained, one = Chained(by_name=True), reader()
    chained.link(message(annotation(EVENTS, 2, 77)), to_item=one.annotation)
    chained.link(message(annotation(EVENTS, 2, **({"offset": 77} | change))), to_item=one.annotation)
    assert chained.records[2].kind == kind
    assert len(chained.annotations) == (1 if kind == Kind.DUPLICATE else 2)


def test_an_own_event_is_known_by_its_id():
    chained, one = Chained(by_name=True), reader()
    values = (own_event(identifier="a"), own_event(identifier="b"), own_event("writer", identifier="a"))
    chained.link(*map(message, values), to_item=one.own_event)
    assert [record.kind for record in chained.records][1:] == [Kind.OWN_EVENT, Kind.OWN_EVENT, Kind.DUPLICATE]
    assert chained.records[1].event_id != bytes(32)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"topic_id":"zz","partition":0,"offset":0}',
        b'{"topic_id":"00","partition":0,"offset":0}',
        b'{"topic_id":"' + b"00" * 16 + b'","partition":-1,"offset":0}',
        b'{"topic_id":"' + b"00" * 16 + b'","partition":0,"offset":99999999999999999999}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_annotation_is_poison_with_a_reason(value):
    chained = Chained(by_name=True)
    chained.link(message(value), to_item=reader().annotation)
    assert chained.records[1].kind == Kind.POISON
    assert b"not an annotation" in chained.payloads[1].enrich
    assert not chained.annotations


@pytest.mark.parametrize("value", [b"x", own_event().replace(b"piperoll/", b"/apps/"), b'{"id":"a"}'])
def test_what_is_no_event_of_ours_is_poison(value):
    chained = Chained(by_name=True)
    chained.link(message(value), to_item=reader().own_event)
    assert chained.records[1].kind == Kind.POISON


def test_holes_between_read_offsets_are_lawful():
    chained, one = Chained(by_name=True), reader()
    chained.link_at({4: message(own_event()), 9: message(own_event())}, to_item=one.own_event)
    kinds = [record.kind for record in chained.records]
    assert kinds == [Kind.GENESIS, Kind.OWN_EVENT, Kind.SKIP, Kind.OWN_EVENT]
    assert chained.documents[0]["first_offset"] == 4
    assert chained.documents[2] == {"first": 5, "last": 8, "reason": "not-delivered"}


def test_where_the_position_no_longer_exists_the_hole_is_expired():
    chained = Chained(by_name=True)
    chained.link_at({0: message(own_event())}, to_item=reader().own_event)
    chained.link_at({9: message(own_event())}, to_item=reader(reset=True).own_event)
    assert chained.documents[2]["reason"] == "expired"
    assert [alert.name for alert in chained.alerts] == ["source_expired"]


def test_a_rewound_topic_read_again_drops_what_is_the_same_and_keeps_what_is_not():
    chained = Chained(by_name=True)
    values = [own_event(identifier=f"{n}") for n in range(4)]
    chained.link_at({n: message(value) for n, value in enumerate(values)}, to_item=reader().own_event)
    again = {0: message(values[0]), 1: message(values[1]), 2: message(own_event(identifier="new"))}
    chained.link_at(again, to_item=reader(reset=True).own_event)
    assert chained.dropped == {"redelivered": 2}
    assert [record.kind for record in chained.records][-3:] == [Kind.CLOSE, Kind.GENESIS, Kind.OWN_EVENT]


def test_the_time_of_an_own_event_is_its_own():
    chained = Chained(by_name=True)
    value = own_event().replace(b'"specversion"', b'"time":"2026-01-01T00:00:00Z","specversion"')
    chained.link(message(value), to_item=reader().own_event)
    assert chained.records[1].event_time_us == 1_767_225_600_000_000
    assert partial(reader)().own_event(message(own_event())).header.event_time_us == ABSENT
