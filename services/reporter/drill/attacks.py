"""Attacks by whoever owns the whole database: records changed with every hash, link, number, payload and head made to fit.

Pure: a chain's rows in, the attacked chain out, and what a verification must say of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NamedTuple

from schemas.commitment import payload_commitment
from schemas.record import ABSENT, GENESIS_PREV, Kind, Record, decode, encode, record_hash
from schemas.verification.contents import Content
from schemas.verification.findings import Change
from schemas.verification.links import Head, Row

Pair = tuple[Row, Content | None]
Work = Callable[[list[Pair], int, Random], list[Pair]]


class Attack(NamedTuple):
    """One way to tamper, and how a verification must name it."""

    work: Work
    change: Change
    fields: tuple[str, ...] = ()


class Attacked(NamedTuple):
    """A chain after an attack at record `seq`."""

    rows: list[Row]
    contents: list[Content]
    head: Head
    change: Change
    seq: int
    fields: tuple[str, ...] = ()


def attack(name: str, pairs: Sequence[Pair], head: Head, random: Random) -> Attacked:
    """The chain after the attack `name` (one of ATTACKS) at a random record that it can be done to."""
    chosen = ATTACKS[name]
    at = random.choice(_places(pairs))
    rows, contents, after = relink(chosen.work(list(pairs), at, random), head)
    return Attacked(rows, contents, after, chosen.change, at, chosen.fields)


def _places(pairs: Sequence[Pair]) -> list[int]:
    """Events whose neighbours are events too, and whose payload is there."""

    def usual(pair: Pair) -> bool:
        return pair[0].kind == Kind.EVENT and pair[1] is not None and pair[1].body is not None

    found = [
        at
        for at in range(2, len(pairs) - 2)
        if usual(pairs[at]) and usual(pairs[at + 1]) and usual(pairs[at - 1])
    ]
    if not found:
        raise ValueError("a chain that is to be attacked needs a few events")
    return found


def relink(pairs: Sequence[Pair], head: Head) -> tuple[list[Row], list[Content], Head]:
    """Numbers, links and hashes made anew, as the attacker can."""
    rows, contents, last = [], [], GENESIS_PREV
    offset, epoch = head.next_source_offset, head.epoch
    for seq, (row, content) in enumerate(pairs):
        made = decode(row.leaf)._replace(seq=seq, prev=last)
        leaf = encode(made)
        last = record_hash(leaf)
        rows.append(row._replace(seq=seq, record_hash=last, leaf=leaf))
        epoch = max(epoch, made.writer_epoch)
        offset = made.source_offset + 1 if made.source_offset != ABSENT else offset
        if content is not None:
            contents.append(content._replace(seq=seq))
    return (
        rows,
        contents,
        head._replace(next_seq=len(rows), last_hash=last, next_source_offset=offset, epoch=epoch),
    )


def _with_leaf(pair: Pair, **fields: Any) -> Pair:
    """A record with other fields, and the columns beside it."""
    row, content = pair
    made = decode(row.leaf)._replace(**fields)
    offset, moment = (None if n == ABSENT else n for n in (made.source_offset, made.event_time_us))
    row = row._replace(
        kind=made.kind,
        source_offset=offset,
        appended_us=made.appended_us,
        event_time_us=moment,
        leaf=encode(made),
    )
    return row, None if content is None else content._replace(appended_us=made.appended_us)


def _edit_payload(pairs: list[Pair], at: int, _random: Random) -> list[Pair]:
    """Another letter in the event's text, and the commitment made anew: the salt lies beside it."""
    row, content = pairs[at]
    assert content is not None
    body = content.body or b""
    middle = len(body) * 2 // 3
    body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
    changed = content._replace(body=body)
    pairs[at] = _with_leaf((row, changed), payload_commitment=payload_commitment(content.salt or b"", body))
    return pairs


def _edit_field(name: str) -> Work:
    def edit(pairs: list[Pair], at: int, random: Random) -> list[Pair]:
        old = getattr(decode(pairs[at][0].leaf), name)
        new = (old ^ 1) if isinstance(old, int) else random.randbytes(len(old))
        pairs[at] = _with_leaf(pairs[at], **{name: new})
        return pairs

    return edit


def _delete(pairs: list[Pair], at: int, _random: Random) -> list[Pair]:
    del pairs[at]
    return pairs


def _insert(pairs: list[Pair], at: int, random: Random) -> list[Pair]:
    """A made-up record of an offset that lies far behind the others, put between two."""
    pairs.insert(at, _with_leaf(pairs[at], source_offset=2**40 + at, payload_commitment=random.randbytes(32)))
    return pairs


def _swap(pairs: list[Pair], at: int, _random: Random) -> list[Pair]:
    pairs[at], pairs[at + 1] = pairs[at + 1], pairs[at]
    return pairs


def _cut(pairs: list[Pair], at: int, _random: Random) -> list[Pair]:
    return pairs[:at]


def _write_again(pairs: list[Pair], at: int, _random: Random) -> list[Pair]:
    """Set back to before record `at`, and the same messages appended again, later, by a writer of another epoch."""

    def again(pair: Pair) -> Pair:
        made = decode(pair[0].leaf)
        return _with_leaf(
            pair, appended_us=made.appended_us + 5_000_000_000, writer_epoch=made.writer_epoch + 1
        )

    return pairs[:at] + [again(pair) for pair in pairs[at:]]


_FIELDS = tuple(
    name
    for name in Record._fields
    if name not in ("seq", "prev", "chain_id", "source_offset", "kind", "appended_us")
)
ATTACKS: dict[str, Attack] = {
    "edited payload": Attack(_edit_payload, Change.EDITED, ("payload_commitment",)),
    "deleted": Attack(_delete, Change.DELETED),
    "inserted": Attack(_insert, Change.INSERTED),
    "reordered": Attack(_swap, Change.REORDERED, ("seq",)),
    "cut off": Attack(_cut, Change.TRUNCATED),
    "set back and gone on": Attack(_write_again, Change.FORKED),
    **{f"edited {name}": Attack(_edit_field(name), Change.EDITED, (name,)) for name in _FIELDS},
}
