"""What the verifier of a chain works on: rows, the chain's and the head's row, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from schemas.record import ABSENT, GENESIS_PREV, LABEL, RECORD_BYTES, Record, decode, record_hash
from schemas.verification.contents import Content


class Row(NamedTuple):
    """One row of audit.record, in the columns' order. Times: microseconds since 1970 UTC."""

    seq: int
    kind: int
    source_offset: int | None
    appended_us: int
    event_time_us: int | None
    identity_hash: int | None
    record_hash: bytes
    leaf: bytes


class ChainInfo(NamedTuple):
    """The row of audit.chain."""

    chain_no: int
    chain_id: bytes
    topic: str
    topic_id: bytes
    partition: int
    cluster_id: str
    previous: int | None


class Head(NamedTuple):
    """The row of audit.chain_head: what the last record must agree with."""

    next_seq: int
    last_hash: bytes
    next_source_offset: int
    epoch: int
    closed: bool


@dataclass(slots=True)
class Place:
    """Where a verification stands: behind the last record that it accepted.

    `shift` is column seq minus leaf seq: 0 unless rows were renumbered. `next_offset` is None where the next record
    may begin anywhere (after a change, or a skip whose end is not known).
    """

    last_hash: bytes = GENESIS_PREV
    next_seq: int = 0
    shift: int = 0
    next_offset: int | None = None
    appended_us: int = ABSENT
    epoch: int = 0
    closed: bool = False


class Link(NamedTuple):
    """A row with what it says of itself: `record` is None where the leaf is none, `digest` the leaf's own hash."""

    row: Row
    record: Record | None
    digest: bytes
    content: Content | None

    @property
    def sound(self) -> bool:
        """Whether the leaf is a record and the stored hash its own."""
        return self.record is not None and self.digest == self.row.record_hash


def read_link(row: Row, content: Content | None) -> Link:
    """A row, read."""
    whole = len(row.leaf) == RECORD_BYTES and row.leaf.startswith(LABEL)
    return Link(row, decode(row.leaf) if whole else None, record_hash(row.leaf), content)


def follows(before: Link, after: Link) -> bool:
    """Whether two rows are good by themselves and linked to each other."""
    one, two = before.record, after.record
    return (
        one is not None
        and two is not None
        and before.sound
        and after.sound
        and two.prev == before.digest
        and two.seq == one.seq + 1
        and after.row.seq == before.row.seq + 1
        and two.chain_id == one.chain_id
        and not column_changes(after.row, two)
    )


def column_changes(row: Row, record: Record) -> tuple[str, ...]:
    """The columns, seq and record_hash apart, that differ from the leaf."""
    pairs = (
        ("kind", row.kind, record.kind),
        ("source_offset", row.source_offset, or_none(record.source_offset)),
        ("appended_us", row.appended_us, record.appended_us),
        ("event_time_us", row.event_time_us, or_none(record.event_time_us)),
    )
    return tuple(name for name, column, leaf in pairs if column != leaf)


def place_before(row: Row, shift: int) -> Place:
    """Where a verification stood just before it accepted this row; times and epochs before it are not known any more."""
    record = decode(row.leaf)
    offset = or_none(record.source_offset)
    return Place(record.prev, record.seq, shift, offset)


def or_none(number: int) -> int | None:
    """A leaf's number as a nullable column has it."""
    return None if number == ABSENT else number
