"""Which payloads are lawfully gone: collected from the orders in verified records of audit.system. Pure, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.commitment import about_event, decode_body
from schemas.own_events import Erasure, EventPlace, order_type, read_order
from schemas.record import Kind, Record
from schemas.verification.findings import Change, Finding, Part
from schemas.verification.links import ChainInfo

ERASABLE = frozenset((Kind.EVENT, Kind.DUPLICATE, Kind.POISON, Kind.ANNOTATION))
"""Kinds whose payload an erasure takes; the others hold no personal data."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What is lawfully gone from one chain: erased source offsets of it, and the events (as annotations name them in
    their records' event_id) about which annotations went."""

    offsets: frozenset[int] = frozenset()
    about: frozenset[bytes] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.offsets or self.about)

    def erased(self, record: Record) -> bool:
        """Whether an erasure covers the payload of a record."""
        if record.kind == Kind.ANNOTATION and record.event_id in self.about:
            return True
        return record.source_offset in self.offsets and record.kind in ERASABLE


NOTHING_GONE = Coverage()


class ErasureRow(NamedTuple):
    """A row of audit.erasure."""

    topic_id: bytes
    partition: int
    source_offset: int
    chain_no: int
    seq: int


@dataclass(slots=True)
class Orders:
    """The orders of all chains of audit.system. `erased` maps (topic id, partition) to source offsets, and these to the
    records (chain number, seq) that ordered it."""

    erased: dict[tuple[bytes, int], dict[int, list[tuple[int, int]]]] = field(default_factory=dict)

    def take(self, chain_no: int, seq: int, body: bytes) -> None:
        """An own event's body, as its record commits to it. What is no order is passed by; so is what the writer did not
        carry out because it was not written as an order must be."""
        value = decode_body(body).value or b""
        if not order_type(value):
            return
        try:
            order = read_order(value)
        except ValueError:
            return
        if not isinstance(order, Erasure):
            return
        for named in order.events:
            place = named.place
            offsets = self.erased.setdefault(place[:2], {})
            orders = offsets.setdefault(place.source_offset, [])
            if (chain_no, seq) not in orders:
                orders.append((chain_no, seq))

    def coverage(self, chain: ChainInfo) -> Coverage:
        """What concerns one chain."""
        offsets = frozenset(self.erased.get((chain.topic_id, chain.partition), ()))
        if not chain.topic.endswith(".annotations"):
            return Coverage(offsets)
        return Coverage(offsets, frozenset(about_event(*place) for place in self._places()))

    def _places(self) -> Iterable[EventPlace]:
        for (topic_id, partition), offsets in self.erased.items():
            for offset in offsets:
                yield EventPlace(topic_id, partition, offset)

    def compare_index(self, rows: Iterable[ErasureRow]) -> list[Finding]:
        """audit.erasure against the records: a row without a record would have payloads left out that nobody ordered
        erased; a record without a row would let them in again."""
        indexed: set[ErasureRow] = set(rows)
        ordered = {
            ErasureRow(*key, offset, *order)
            for key, offsets in self.erased.items()
            for offset, orders in offsets.items()
            for order in orders
        }
        forged = "rows of audit.erasure name this record, which orders no such erasure: they were put in"
        gone = "rows of audit.erasure are gone that this record's erasure made"
        return [
            *_by_order(indexed - ordered, Change.INSERTED, forged),
            *_by_order(ordered - indexed, Change.MISSING, gone),
        ]


def _by_order(rows: Iterable[ErasureRow], change: Change, text: str) -> list[Finding]:
    """One finding for each record that rows name."""
    counts: Mapping[tuple[int, int], int] = _count(rows)
    return [
        Finding(chain_no, change, Part.ERASURE, f"{count} {text}", seq)
        for (chain_no, seq), count in sorted(counts.items())
    ]


def _count(rows: Iterable[ErasureRow]) -> dict[tuple[int, int], int]:
    counts: dict[tuple[int, int], int] = {}
    for row in rows:
        counts[row.chain_no, row.seq] = counts.get((row.chain_no, row.seq), 0) + 1
    return counts
