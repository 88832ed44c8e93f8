"""Attacks by whoever owns the whole database: records changed with every hash, link, number, payload and head made to fit."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

import asyncpg

from schemas import record
from schemas.commitment import payload_commitment
from schemas.record import ABSENT, Record
from schemas.verification.contents import Content
from schemas.verification.findings import Change
from schemas.verification.links import Head, Row
from tests.audit_tables import _EPOCH_US, tamper
from tests.chain_rows import ChainRows

Pair = tuple[Row, Content]


class Rewritten(NamedTuple):
    """A chain as it is after an attack; what must be found: the kind of change, and the first record concerned."""

    rows: list[Row]
    contents: list[Content]
    head: Head
    change: Change
    seq: int
    fields: tuple[str, ...] = ()


def relink(chain: ChainRows, pairs: list[Pair]) -> tuple[list[Row], list[Content], Head]:
    """Numbers, links and hashes made anew, as the attacker can."""
    rows, contents, last = [], [], record.GENESIS_PREV
    for seq, (row, content) in enumerate(pairs):
        made = record.decode(row.leaf)._replace(seq=seq, prev=last)
        leaf = record.encode(made)
        last = record.record_hash(leaf)
        rows.append(row._replace(seq=seq, record_hash=last, leaf=leaf))
        contents.append(content._replace(seq=seq))
    return rows, contents, chain.head._replace(next_seq=len(rows), last_hash=last)


def with_leaf(pair: Pair, **fields: object) -> Pair:
    """A record with other fields, and the columns beside it."""
    row, content = pair
    made = record.decode(row.leaf)._replace(**fields)
    nullable = [None if n == ABSENT else n for n in (made.source_offset, made.event_time_us)]
    row = row._replace(
        kind=made.kind,
        source_offset=nullable[0],
        appended_us=made.appended_us,
        event_time_us=nullable[1],
        leaf=record.encode(made),
    )
    return row, content._replace(appended_us=made.appended_us)


def edit_payload(chain: ChainRows, pairs: list[Pair], at: int, _random: Random) -> list[Pair]:
    row, content = pairs[at]
    body = (content.body or b"").replace(b"user_login", b"user_logon")
    pairs[at] = with_leaf(
        (row, content._replace(body=body)), payload_commitment=payload_commitment(content.salt or b"", body)
    )
    return pairs


def edit_field(name: str) -> Callable[..., list[Pair]]:
    def edit(chain: ChainRows, pairs: list[Pair], at: int, random: Random) -> list[Pair]:
        old = getattr(record.decode(pairs[at][0].leaf), name)
        new = (old ^ 1) if isinstance(old, int) else random.randbytes(len(old))
        pairs[at] = with_leaf(pairs[at], **{name: new})
        return pairs

    return edit


def delete(chain: ChainRows, pairs: list[Pair], at: int, _random: Random) -> list[Pair]:
    """The record goes, and the offsets are closed up over it as if there had never been one: a skip is not needed where
    the attacker leaves the hole."""
    del pairs[at]
    return pairs


def insert(chain: ChainRows, pairs: list[Pair], at: int, random: Random) -> list[Pair]:
    """A made-up record of an offset that lies far behind the others, put between two."""
    made = with_leaf(pairs[at], source_offset=1_000_000 + at, payload_commitment=random.randbytes(32))
    pairs.insert(at, made)
    return pairs


def swap(chain: ChainRows, pairs: list[Pair], at: int, _random: Random) -> list[Pair]:
    pairs[at], pairs[at + 1] = pairs[at + 1], pairs[at]
    return pairs


def cut(chain: ChainRows, pairs: list[Pair], at: int, _random: Random) -> list[Pair]:
    return pairs[:at]


def write_again(chain: ChainRows, pairs: list[Pair], at: int, _random: Random) -> list[Pair]:
    """Set back to before record `at`, and the same messages appended again, later, by a writer of another epoch."""
    return pairs[:at] + [
        with_leaf(
            pair,
            appended_us=record.decode(pair[0].leaf).appended_us + 5_000_000_000,
            writer_epoch=record.decode(pair[0].leaf).writer_epoch + 1,
        )
        for pair in pairs[at:]
    ]


ATTACKS: dict[str, tuple[Callable[..., list[Pair]], Change, tuple[str, ...]]] = {
    "edited payload": (edit_payload, Change.EDITED, ("payload_commitment",)),
    "deleted": (delete, Change.DELETED, ()),
    "inserted": (insert, Change.INSERTED, ()),
    "reordered": (swap, Change.REORDERED, ("seq",)),
    "cut off": (cut, Change.TRUNCATED, ()),
    "set back and gone on": (write_again, Change.FORKED, ()),
}
ATTACKS |= {
    f"edited {name}": (edit_field(name), Change.EDITED, (name,))
    for name in Record._fields
    if name not in ("seq", "prev", "chain_id", "source_offset", "kind", "appended_us")
}


def attack(chain: ChainRows, name: str, random: Random) -> Rewritten:
    """The chain after an attack at a random record."""
    work, change, fields = ATTACKS[name]
    at = random.randrange(2, len(chain.rows) - 2)
    pairs = work(chain, list(zip(chain.rows, chain.contents, strict=True)), at, random)
    rows, contents, head = relink(chain, pairs)
    return Rewritten(rows, contents, head, change, at, fields)


async def overwrite(dsn: str, chain: ChainRows, made: Rewritten) -> None:
    """Puts the rewritten chain in the place of the one in the database."""
    number = chain.chain_no
    head = made.head
    await tamper(
        dsn,
        f"DELETE FROM audit.record WHERE chain_no = {number}; DELETE FROM audit.payload WHERE chain_no = {number};"
        f" UPDATE audit.chain_head SET next_seq = {head.next_seq}, last_hash = '\\x{head.last_hash.hex()}',"
        f" epoch = {max(record.decode(row.leaf).writer_epoch for row in made.rows)},"
        f" next_source_offset = {1 + max((row.source_offset for row in made.rows if row.source_offset is not None), default=0)}"
        f" WHERE chain_no = {number}",
    )
    connection = await asyncpg.connect(dsn)
    try:
        await connection.set_type_codec(
            "timestamptz",
            schema="pg_catalog",
            format="tuple",
            encoder=lambda us: (us - _EPOCH_US,),
            decoder=lambda said: said[0] + _EPOCH_US,
        )
        await connection.copy_records_to_table(
            "record", schema_name="audit", records=[(number, *row) for row in made.rows]
        )
        await connection.copy_records_to_table(
            "payload", schema_name="audit", records=[(number, *item, None) for item in made.contents]
        )
    finally:
        await connection.close()
