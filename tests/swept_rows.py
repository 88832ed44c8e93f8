"""Rows swept as a verification sweeps a database: in ranges, each as COPY would hand it out."""

from __future__ import annotations

from struct import pack

from schemas.record import ABSENT
from schemas.verification import sweep
from schemas.verification.sweep import Sweep, conclude
from services.reporter.copying import Rows, payload_rows

_SINCE_2000_US = 946_684_800_000_000


def copied(contents):
    """Payload rows as PostgreSQL's COPY in binary writes them."""
    made = [b"PGCOPY\n\xff\r\n\0", bytes(8)]
    for seq, appended_us, salt, body, enrich_salt, enrich in contents:
        cells = (pack(">q", seq), pack(">q", appended_us - _SINCE_2000_US), enrich_salt, salt, body, enrich)
        made.append(pack(">h", len(cells)))
        made += [pack(">i", -1) if cell is None else pack(">i", len(cell)) + cell for cell in cells]
    return b"".join([*made, b"\xff\xff"])


def copied_records(rows):
    """Rows of audit.record as the query of sweeps gives them."""
    made = [b"PGCOPY\n\xff\r\n\0", bytes(8)]
    for row in rows:
        offset, event_us = (
            ABSENT if item is None else item for item in (row.source_offset, row.event_time_us)
        )
        numbers = (offset, row.appended_us, event_us, row.identity_hash or 0)
        cells = [pack(">q", row.seq), pack(">h", row.kind), *(pack(">q", number) for number in numbers)]
        cells += [row.record_hash, row.leaf]
        made.append(pack(">h", len(cells)))
        made += [pack(">i", len(cell)) + cell for cell in cells]
    return b"".join([*made, b"\xff\xff"])


def feed(take, stream, sizes):
    """Hands the stream in pieces of these sizes, over and over, to `take`; what has read it, not yet told of the end."""
    rows, at, number = Rows(take), 0, 0
    while at < len(stream):
        size = sizes[number % len(sizes)]
        rows.piece(stream[at : at + size])
        at, number = at + size, number + 1
    return rows


def swept(info, start, rows, contents, sizes=(), *, pieces=(900,), **options):
    """One range, as `sweep_range` sweeps it; None where it is not clean."""
    made = Sweep(info, start, sizes, with_contents=contents is not None, **options)

    def take(data, at):
        found, after = payload_rows(data, at)
        made.contents(found)
        return after

    records = feed(made.records, copied_records(rows), pieces)
    if made.clean and records.end():
        return None
    if made.clean and contents is not None:
        assert feed(take, copied(contents), pieces).end() == b""
    return made.finish()


def swept_chain(info, head, rows, contents, sizes=(), **options):
    """A whole chain in ranges of `sweep.RANGE`: what `conclude` says; None where a row stands outside of the chain."""
    if any(not 0 <= row.seq < head.next_seq for row in (*rows, *(contents or ()))):
        return None
    parts = []
    for start in range(0, head.next_seq, sweep.RANGE):
        within = range(start, min(start + sweep.RANGE, head.next_seq))
        some = [row for row in rows if row.seq in within]
        payloads = None if contents is None else [row for row in contents if row.seq in within]
        wanted = tuple(size for size in sizes if size - 1 in within)
        part = swept(info, start, some, payloads, wanted, **options)
        if part is None or part.frontier.size != len(within):
            return None
        parts.append(part)
    return conclude(parts, head)
