"""What the writer said that it appended, against the records: the part of the second look that no topic holds.

The topic of events tells a record's message. Everything else in a record (enrichment, times, epoch) is pinned by the head
that the writer said outside the database (services/writer/heads.py): records are signed up to a head that was said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from services.writer.heads import Head
from services.writer.sealer.memory import ChainMemory
from services.writer.sealer.news import Linked, link
from services.writer.sealer.store import READ_AT_ONCE, Store


class Vouched(NamedTuple):
    """So many of the records lead to a head that was said. `contradicted`: heads were said of them, and none is theirs."""

    records: int
    contradicted: bool = False


def vouched(size: int, hashes: Sequence[bytes], said: Sequence[Head]) -> Vouched:
    """`hashes`: record hashes from number `size` on."""
    inside = [head for head in said if size < head.next_seq <= size + len(hashes)]
    good = [head.next_seq for head in inside if hashes[head.next_seq - size - 1] == head.last_hash]
    return Vouched(max(good) - size) if good else Vouched(0, contradicted=bool(inside))


class Voucher:
    """Judges the news of chains. Heads are said of the last few batches only: where more waits than is read at once, the
    way to the first head is gone over once, and what it passes by is kept."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._passed: dict[bytes, list[Head]] = {}

    async def judge(self, chain: ChainMemory, linked: Linked, said: Sequence[Head], end: int) -> Vouched:
        """`said` of this partition; `end`: the number that the chain's next record will have. Raises what the store
        raises."""
        own = [head for head in said if head.chain_id == chain.chain_id and head.next_seq <= end]
        passed = [head for head in self._passed.get(chain.chain_id, ()) if head.next_seq > chain.size]
        self._passed[chain.chain_id] = passed
        found = vouched(chain.size, linked.hashes, [*passed, *own])
        upto = chain.size + len(linked.hashes)
        if found.records or found.contradicted or not any(head.next_seq > upto for head in own):
            return found
        led = None if linked.broken else await self._go_over(chain, own)
        if led is None:
            return Vouched(0, contradicted=True)
        self._passed[chain.chain_id] = led
        return vouched(chain.size, linked.hashes, led)

    async def _go_over(self, chain: ChainMemory, own: Sequence[Head]) -> list[Head] | None:
        """The chain's heads at each reading up to one that was said; None where it does not lead there."""
        wanted = {(head.next_seq, head.last_hash) for head in own}
        last = max(head.next_seq for head in own)
        passed: list[Head] = []
        at = chain
        while at.size < last:
            end = min(at.size + READ_AT_ONCE, last)
            linked = link(at, await self._store.leaves(at.tree, at.size, end))
            if linked.broken or at.size + len(linked.hashes) < end:
                return None
            at = replace(at, size=end, last_hash=linked.hashes[-1])
            passed.append(Head(chain.chain_id, at.size, at.last_hash))
        return passed if (at.size, at.last_hash) in wanted else None
