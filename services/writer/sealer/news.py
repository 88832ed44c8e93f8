"""From a stretch of rows to what may be sealed of it: whether it continues what was signed, and what the look says."""

from __future__ import annotations

from hashlib import sha256
from struct import Struct
from typing import NamedTuple

from schemas.record import ABSENT, LABEL, RECORD_BYTES
from services.writer.sealer.book import Gain
from services.writer.sealer.look import Look
from services.writer.sealer.memory import ChainMemory

_SEQ = Struct(">Q")
_OFFSET = Struct(">q")
_OFFSET_AT = 82


class Linked(NamedTuple):
    """The leaves that continue what was signed, with their hashes; `broken` tells that the next one does not."""

    leaves: list[bytes]
    hashes: list[bytes]
    broken: bool


def link(chain: ChainMemory, leaves: bytes) -> Linked:
    """The front of some leaves that follows on what was signed of the chain: label, chain, number, link."""
    last = chain.last_hash
    found: list[bytes] = []
    hashes: list[bytes] = []
    for seq, start in enumerate(range(0, len(leaves), RECORD_BYTES), chain.size):
        leaf = leaves[start : start + RECORD_BYTES]
        if leaf[14:38] != chain.chain_id + _SEQ.pack(seq) or leaf[38:70] != last or leaf[:13] != LABEL:
            return Linked(found, hashes, broken=True)
        last = sha256(b"\0" + leaf).digest()
        found.append(leaf)
        hashes.append(last)
    return Linked(found, hashes, broken=False)


def gain(chain: ChainMemory, linked: Linked, look: Look, vouched: int, *, patience_over: bool) -> Gain | None:
    """What may be sealed: what was compared, and what the writer vouched for, or all that continues the chain once
    patience is over and nothing differs."""
    count = min(look.compared, vouched, len(linked.leaves))
    compared = count
    if patience_over and look.mismatch is None:
        count = len(linked.leaves)
    if not count:
        return None
    leaves, hashes = linked.leaves[:count], linked.hashes[:count]
    return Gain(leaves, hashes, _next_offset(chain, leaves), compared)


def _next_offset(chain: ChainMemory, leaves: list[bytes]) -> int:
    """Behind the last record that has an offset. Where that is a skip record, the topic is read on inside its range,
    in which nothing is delivered: the next record is met all the same."""
    for leaf in reversed(leaves):
        (offset,) = _OFFSET.unpack_from(leaf, _OFFSET_AT)
        if offset != ABSENT:
            return int(offset) + 1
    return chain.next_offset
