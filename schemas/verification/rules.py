"""What must hold from record to record beside the links: offsets, times, epochs, and the kinds' places and bodies."""

from __future__ import annotations

from schemas.own_bodies import Close, Duplicate, Genesis, Skip, TimeAnchor, read_own
from schemas.record import ABSENT, Kind, Record
from schemas.verification.contents import Content, is_committed
from schemas.verification.findings import Change, Finding, Part
from schemas.verification.links import Place
from schemas.verification.result import ChainResult

PLAIN = frozenset((Kind.EVENT, Kind.POISON, Kind.ANNOTATION, Kind.OWN_EVENT))
"""Kinds that have an offset, and no JSON that the chain must agree with: most records."""
_OWN = frozenset((Kind.DUPLICATE, Kind.SKIP, Kind.GENESIS, Kind.CLOSE, Kind.TIME_ANCHOR))
_KINDS = frozenset(Kind)
_WITHOUT_OFFSET = frozenset((Kind.GENESIS, Kind.CLOSE, Kind.TIME_ANCHOR))


def apply_rules(result: ChainResult, place: Place, record: Record, content: Content | None) -> None:
    """Checks one linked record and moves `place` behind it; what is wrong is added to `result`."""
    _check_order(result, place, record)
    _check_kind(result, place, record)
    if record.kind not in _WITHOUT_OFFSET:
        _cover(result, place, record)
    elif record.source_offset != ABSENT:
        _add(result, record, Change.UNCOVERED, "a record of this kind covers no offset", ("source_offset",))
    if record.kind in _OWN and content is not None:
        _check_own(result, place, record, content)
    elif record.kind == Kind.SKIP:
        place.next_offset = None


def _check_order(result: ChainResult, place: Place, record: Record) -> None:
    if record.appended_us < place.appended_us:
        text = f"appended before the record before it ({place.appended_us} µs)"
        _add(result, record, Change.DISORDERED, text, ("appended_us",))
    if record.writer_epoch < place.epoch:
        text = f"written under epoch {record.writer_epoch} after epoch {place.epoch}: a writer that had been replaced"
        _add(result, record, Change.DISORDERED, text, ("writer_epoch",))
    place.appended_us = record.appended_us
    place.epoch = record.writer_epoch


def _check_kind(result: ChainResult, place: Place, record: Record) -> None:
    if record.kind not in _KINDS:
        _add(result, record, Change.DISORDERED, f"{record.kind} is no kind of record", ("kind",))
    if (record.kind == Kind.GENESIS) != (record.seq == 0):
        _add(result, record, Change.DISORDERED, "genesis is record 0, and only record 0", ("kind",))
    if place.closed:
        _add(result, record, Change.DISORDERED, "stands behind the record that closed the chain", ("kind",))
    place.closed = place.closed or record.kind == Kind.CLOSE


def _cover(result: ChainResult, place: Place, record: Record) -> None:
    """Each source offset belongs to exactly one record."""
    offset = record.source_offset
    if offset == ABSENT:
        _add(result, record, Change.UNCOVERED, "has no source offset", ("source_offset",))
        return
    if place.next_offset is not None and offset > place.next_offset:
        text = "no record covers these source offsets"
        _add(result, record, Change.UNCOVERED, text, ("source_offset",), (place.next_offset, offset - 1))
    elif place.next_offset is not None and offset < place.next_offset:
        text = f"covers a source offset again: {place.next_offset} is next"
        _add(result, record, Change.UNCOVERED, text, ("source_offset",))
    if result.first_offset is None:
        result.first_offset = offset
    place.next_offset = max(offset + 1, place.next_offset or 0)


def _check_own(result: ChainResult, place: Place, record: Record, content: Content) -> None:
    """The JSON of our own kinds; a body that is not what the record commits to is a finding already."""
    if content.body is None or not is_committed(record, content):
        place.next_offset = None if record.kind == Kind.SKIP else place.next_offset
        return
    try:
        match record.kind:
            case Kind.GENESIS:
                _check_genesis(result, place, record, read_own(Genesis, content.body))
            case Kind.SKIP:
                _check_skip(result, place, record, read_own(Skip, content.body))
            case Kind.CLOSE:
                result.close = read_own(Close, content.body)
            case Kind.TIME_ANCHOR:
                read_own(TimeAnchor, content.body)
            case _:
                _check_duplicate(result, record, read_own(Duplicate, content.body))
    except ValueError as error:
        _add(result, record, Change.DISORDERED, str(error), ("body",), part=Part.PAYLOAD)


def _check_genesis(result: ChainResult, place: Place, record: Record, said: Genesis) -> None:
    chain = result.chain
    result.genesis = said
    place.next_offset = result.first_offset = said.first_offset
    pairs = (
        ("topic", chain.topic, said.topic),
        ("topic_id", chain.topic_id.hex(), said.topic_id),
        ("partition", chain.partition, said.partition),
        ("cluster_id", chain.cluster_id, said.cluster_id),
    )
    wrong = tuple(name for name, column, genesis in pairs if column != genesis)
    if wrong:
        text = "the chain's row is not what its genesis record says"
        _add(result, record, Change.EDITED, text, wrong, part=Part.CHAIN)


def _check_skip(result: ChainResult, place: Place, record: Record, said: Skip) -> None:
    if said.first != record.source_offset or said.last < said.first:
        text = f"says {said.first} to {said.last}, its offset is {record.source_offset}"
        _add(result, record, Change.UNCOVERED, text, ("first", "last"))
        place.next_offset = None
        return
    place.next_offset = said.last + 1
    result.skipped_offsets += said.last - said.first + 1
    if said.reason == "expired":
        result.expired_offsets += said.last - said.first + 1
        text = "these events had expired from Kafka before they were read: lost, and recorded as lost"
        _add(result, record, Change.EXPIRED, text, (), (said.first, said.last))


def _check_duplicate(result: ChainResult, record: Record, said: Duplicate) -> None:
    if said.first_chain_id == result.chain.chain_id.hex() and said.first_seq >= record.seq:
        text = f"is a repeat of record {said.first_seq}, which does not stand before it"
        _add(result, record, Change.DISORDERED, text, ("first_seq",))


def _add(
    result: ChainResult,
    record: Record,
    change: Change,
    text: str,
    fields: tuple[str, ...],
    offsets: tuple[int, int] | None = None,
    part: Part = Part.RECORD,
) -> None:
    offset = None if record.source_offset == ABSENT else record.source_offset
    first, last = offsets or (offset, None)
    result.add(
        Finding(
            result.chain.chain_no,
            change,
            part,
            text,
            record.seq,
            source_offset=first,
            last_offset=last,
            fields=fields,
            appended_us=record.appended_us,
        )
    )
