"""Which payloads are lawfully gone: collected from the orders in verified records of audit.system. Pure, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from schemas.commitment import about_event, decode_body
from schemas.own_events import Erasure, EventPlace, Retention, order_type, read_order
from schemas.record import ABSENT, Kind, Record
from schemas.verification.findings import Change, Finding, Part
from schemas.verification.links import ChainInfo

ERASABLE = frozenset((Kind.EVENT, Kind.DUPLICATE, Kind.POISON, Kind.ANNOTATION))
"""Kinds whose payload an erasure takes; the others hold no personal data."""
RETAINED = ERASABLE | {Kind.OWN_EVENT}
"""Kinds whose payload goes with its month; bodies by which chains are verified are kept, and so are orders."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What is lawfully gone from one chain: erased source offsets of it, the events (as annotations name them in their
    records' event_id) about which annotations went, and what was appended before `retained_us`."""

    offsets: frozenset[int] = frozenset()
    about: frozenset[bytes] = frozenset()
    retained_us: int = ABSENT

    def __bool__(self) -> bool:
        """Whether an erasure concerns the chain."""
        return bool(self.offsets or self.about)

    def erases(self, row: Any) -> bool:
        """The same of a row of audit.record (Row's fields), quickly."""
        return (row[2] in self.offsets and row[1] in ERASABLE) or (
            row[1] == Kind.ANNOTATION and bool(self.about) and row[7][107:139] in self.about
        )

    def retained(self, record: Record) -> bool:
        """Whether retention has taken the payload of a record."""
        return record.appended_us < self.retained_us and record.kind in RETAINED

    def erased(self, record: Record) -> bool:
        """Whether an erasure covers the payload of a record."""
        if record.kind == Kind.ANNOTATION and record.event_id in self.about:
            return True
        return record.source_offset in self.offsets and record.kind in ERASABLE


NOTHING_GONE = Coverage()


class RetentionRow(NamedTuple):
    """A row of audit.retention; `until_us` in microseconds since 1970 UTC."""

    chain_no: int
    seq: int
    until_us: int


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
    retentions: set[RetentionRow] = field(default_factory=set)

    def take(self, chain_no: int, seq: int, appended_us: int, body: bytes) -> None:
        """An own event's body, as its record commits to it. What is no order is passed by; so is what the writer did not
        carry out because it was not written as an order must be."""
        value = decode_body(body).value or b""
        if not order_type(value):
            return
        try:
            order = read_order(value)
        except ValueError:
            return
        if isinstance(order, Retention) and order.until_us <= appended_us:
            self.retentions.add(RetentionRow(chain_no, seq, order.until_us))
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
        about: frozenset[bytes] = frozenset()
        if chain.topic.endswith(".annotations"):
            about = frozenset(about_event(*place) for place in self._places())
        retained_us = max((row.until_us for row in self.retentions), default=ABSENT)
        return Coverage(offsets, about, retained_us)

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


def compare_retentions(orders: Orders, rows: Iterable[RetentionRow]) -> list[Finding]:
    """audit.retention against the records: a row without a record would have payloads dropped that nobody ordered."""
    text = "a row of audit.retention names this record, which orders no such retention: it was put in"
    return [
        Finding(row.chain_no, Change.INSERTED, Part.ERASURE, text, row.seq)
        for row in sorted(set(rows) - orders.retentions)
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
