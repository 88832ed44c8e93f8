"""A repeat is a duplicate only if it is the same: same source, id and value bytes in the same chain."""

import pytest

from schemas.commitment import identity_hash, payload_commitment
from schemas.record import Kind
from services.writer.batch import IDENTITY_CONFLICT, IDENTITY_UNCHECKED
from services.writer.found import MOST_CANDIDATES, Candidate, Found, content_of
from tests.builders import Log, structured
from tests.linking import Chained

VALUE = structured("/a", "x", "data_export", 1)


def found(candidate: Candidate) -> Found:
    return Found({}, {identity_hash("/a", "x"): [candidate]})


def kinds(chained: Chained) -> list[int]:
    return [record.kind for record in chained.records][1:]


def test_the_same_event_again_is_a_duplicate_that_names_the_first():
    chained, log = Chained(), Log()
    first = log.event(0, -1, source="/a", identifier="x", value=VALUE)
    again = log.event(1, source="/a", identifier="x", value=VALUE, headers=(("trace", b"2"),))
    chained.link(first, again)
    assert kinds(chained) == [Kind.EVENT, Kind.DUPLICATE]
    document, payload = chained.documents[2], chained.payloads[2]
    assert document["first_chain_id"] == chained.records[0].chain_id.hex()
    assert document["first_seq"] == 1
    assert payload.enrich is None
    body = chained.body_of(again)
    assert document["payload_commitment"] == payload_commitment(payload.original_salt, body).hex()
    assert chained.records[2].source_offset == 1
    assert chained.records[2].event_id != bytes(32)
    assert chained.commitments_hold()


def test_it_is_found_in_the_batch_before_too():
    chained, log = Chained(), Log()
    chained.link(log.event(0, -1, source="/a", identifier="x", value=VALUE))
    chained.link(log.event(1, source="/a", identifier="x", value=VALUE))
    assert kinds(chained) == [Kind.EVENT, Kind.DUPLICATE]


def test_it_is_found_in_the_database():
    chained, log = Chained(), Log()
    chained.link(log.event(0, -1))
    known = Candidate(77, False, ("/a", "x"), content_of(VALUE, ()))
    chained.link(log.event(1, source="/a", identifier="x", value=VALUE), found=found(known))
    assert kinds(chained) == [Kind.EVENT, Kind.DUPLICATE]
    assert chained.documents[2]["first_seq"] == 77


def test_other_bytes_under_the_same_identity_are_a_full_event_and_a_conflict():
    chained, log = Chained(), Log()
    harmless = log.event(0, -1, source="/a", identifier="x", value=b'{"harmless":1}')
    real = log.event(1, source="/a", identifier="x", value=b'{"real":1}')
    chained.link(harmless, real, real._replace(headers=log.event(2, source="/a", identifier="x").headers))
    assert kinds(chained) == [Kind.EVENT, Kind.EVENT, Kind.DUPLICATE]
    assert f'"writer_tags":["{IDENTITY_CONFLICT}"]'.encode() in chained.payloads[2].enrich
    assert b"writer_tags" not in chained.payloads[1].enrich
    assert chained.documents[3]["first_seq"] == 2
    assert chained.commitments_hold()
    (said,) = chained.alerts
    assert (said.name, said.facts["source"], said.facts["offset"]) == ("identity_conflict", "/a", 1)


def test_the_conflicts_of_a_source_are_one_alert_an_hour():
    chained, log = Chained(), Log()
    chained.link(log.event(0, -1, source="/a", identifier="x"))
    for offset in range(1, 5):
        hour = log.time_ms + 3_600_000 * (offset // 3)
        chained.link(log.event(offset, source="/a", identifier="x", value=b"%d" % offset, kafka_ts_ms=hour))
    assert [said.name for said in chained.alerts] == ["identity_conflict"] * 2
    assert len({said.id for said in chained.alerts}) == 2


def test_a_binary_event_of_another_type_is_no_repeat_whatever_its_value():
    chained, log = Chained(), Log()
    viewed = log.event(
        0, -1, source="/a", identifier="x", value=VALUE, headers=(("ce_type", b"page_viewed"),)
    )
    deleted = log.event(
        1, source="/a", identifier="x", value=VALUE, headers=(("ce_type", b"account_deleted"),)
    )
    again = log.event(2, source="/a", identifier="x", value=VALUE, headers=(("ce_type", b"account_deleted"),))
    chained.link(viewed, deleted, again)
    assert kinds(chained) == [Kind.EVENT, Kind.EVENT, Kind.DUPLICATE]
    assert f'"writer_tags":["{IDENTITY_CONFLICT}"]'.encode() in chained.payloads[2].enrich
    assert chained.documents[3]["first_seq"] == 2


def test_a_repeat_of_an_erased_event_is_a_duplicate_that_could_not_be_checked():
    chained, log = Chained(), Log()
    chained.link(log.event(0, -1))
    chained.link(
        log.event(1, source="/a", identifier="x", value=VALUE), found=found(Candidate(5, True, None, None))
    )
    assert kinds(chained) == [Kind.EVENT, Kind.DUPLICATE]
    assert chained.documents[2]["tags"] == [IDENTITY_UNCHECKED]


def test_equal_hashes_of_different_identities_are_nothing():
    chained, log = Chained(), Log()
    chained.link(log.event(0, -1))
    other = Candidate(5, False, ("/b", "y"), content_of(VALUE, ()))
    chained.link(log.event(1, source="/a", identifier="x", value=VALUE), found=found(other))
    assert kinds(chained) == [Kind.EVENT, Kind.EVENT]
    assert b"writer_tags" not in chained.payloads[2].enrich


def test_a_repeat_in_another_chain_is_a_full_event():
    chained, old, new = Chained(), Log(), Log()
    chained.link(old.event(0, -1, source="/a", identifier="x", value=VALUE))
    chained.link(new.event(0, -1, source="/a", identifier="x", value=VALUE))
    assert Kind.DUPLICATE not in kinds(chained)


def test_a_flood_of_conflicts_is_compared_with_a_few():
    chained, log = Chained(), Log()
    chained.link(*(log.event(n, n - 1, source="/a", identifier="x", value=b"%d" % n) for n in range(200)))
    assert kinds(chained) == [Kind.EVENT] * 200
    assert len(chained.linker(0)._unstored.entries(identity_hash("/a", "x"))) == MOST_CANDIDATES


@pytest.mark.parametrize("repeat", [0, 1])
def test_poison_has_no_identity_and_is_never_a_duplicate(repeat):
    chained, log = Chained(), Log()
    chained.link(log.poison(0, -1), log.poison(1))
    assert kinds(chained) == [Kind.POISON, Kind.POISON]
    assert chained.rows[2][6] is None


def test_a_withheld_value_is_committed_to_by_the_enricher_and_not_kept():
    chained, log = Chained(), Log()
    message = log.withheld(0, -1, commitment=bytes(range(32)))
    chained.link(message)
    assert chained.records[1].kind == Kind.POISON
    assert chained.records[1].payload_commitment == bytes(range(32))
    assert chained.payloads[1].body is None
    chained.link(log.withheld(0, -1, commitment=bytes(32)), log.event(1))
    assert chained.dropped == {"redelivered": 1}
