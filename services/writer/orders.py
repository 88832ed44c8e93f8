"""Orders (own events such as an erasure) and what they leave behind, in the transaction that appends.

Appending shares one lock, which an order takes alone: either a batch is in the database before the order looks for what
it names, or it looks up here, before it inserts anything, what was ordered before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import asyncpg

from schemas.own_events import ERASURE, RESTORE, RETENTION, EventPlace
from schemas.record import Kind
from services.common.logging import get_logger
from services.common.queries import load_queries
from services.writer.chain import Section
from services.writer.rows import PAYLOAD_PIECES, read_row

log = get_logger(__name__)

_QUERIES = load_queries(Path(__file__).with_name("queries.sql"))
_CARRIED_OUT = {ERASURE: "erase", RESTORE: "restore", RETENTION: "retain"}
"""The query that carries out an order."""
ORDER_TIMEOUT_S = 120.0
"""An order may take longer than a batch; the writer still counts as alive meanwhile."""
_ERASABLE = frozenset((Kind.EVENT, Kind.DUPLICATE, Kind.POISON, Kind.ANNOTATION))


class Placed(NamedTuple):
    """A section, and the partition of its chain's topic."""

    partition: int
    section: Section


class _Span(NamedTuple):
    topic_id: bytes
    partition: int
    first: int
    last: int


def has_orders(sections: Sequence[Section]) -> bool:
    """Whether a batch brings orders."""
    return any(section.orders for section in sections)


async def take_lock(connection: asyncpg.Connection, sections: Sequence[Section]) -> None:
    """The first lock of every transaction that appends, so that no two wait for each other."""
    if not has_orders(sections):
        await connection.execute(_QUERIES["append_lock"])
        return
    await connection.execute(f"SET LOCAL statement_timeout = {int(ORDER_TIMEOUT_S * 1000)}")
    await connection.execute(_QUERIES["order_lock"])


async def leave_out_erased(connection: asyncpg.Connection, placed: Sequence[Placed]) -> int:
    """Drops the payloads of what was erased before it came here: annotations about erased events, and events under
    erased coordinates. Their records stay, and commit to what is not kept. Returns how many."""
    spans = [span for one in placed for span in _spans(one)]
    if not spans:
        return 0
    rows = await connection.fetch(_QUERIES["erased"], *map(list, zip(*spans, strict=True)))
    if not rows:
        return 0
    erased = {EventPlace(*row) for row in rows}
    return sum(_leave_out(one, erased) for one in placed)


def _spans(placed: Placed) -> Iterator[_Span]:
    partition, section = placed
    rows = map(read_row, _ends(section.records))
    offsets = [row.source_offset for row in rows if row.source_offset is not None]
    if offsets:
        yield _Span(section.chain.topic_id, partition, min(offsets), max(offsets))
    for row in section.annotations:
        yield _Span(row.target.topic_id, row.target.partition, row.target.offset, row.target.offset)


def _ends(records: Sequence[bytes]) -> Sequence[bytes]:
    """The first and last rows of a section: genesis and close have no offset, those next to them do."""
    return [*records[:2], *records[-2:]]


def _leave_out(placed: Placed, erased: set[EventPlace]) -> int:
    partition, section = placed
    targets = {row.seq: EventPlace(*row.target) for row in section.annotations}
    kept: list[bytes] = []
    for number, record in enumerate(section.records):
        seq, kind, offset = read_row(record)
        own = EventPlace(section.chain.topic_id, partition, -1 if offset is None else offset)
        if kind in _ERASABLE and (own in erased or targets.get(seq) in erased):
            continue
        kept += section.payloads[PAYLOAD_PIECES * number : PAYLOAD_PIECES * (number + 1)]
    left_out = len(section.records) - len(kept) // PAYLOAD_PIECES
    section.payloads = kept
    return left_out


async def carry_out(connection: asyncpg.Connection, sections: Sequence[Section]) -> None:
    """Does what the orders among the records say; they are inserted already."""
    for section in sections:
        for order in section.orders:
            done = await connection.fetchval(
                _QUERIES[_CARRIED_OUT[order.type]],
                section.chain.number,
                order.seq,
                timeout=ORDER_TIMEOUT_S + 5,
            )
            report = log.critical if done is None else log.info
            report(
                "order_carried_out", order=order.type, chain=section.chain.number, seq=order.seq, rows=done
            )
