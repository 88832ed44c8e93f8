"""The seal log as a history: what was signed of each chain, and whether several checkpoints tell the same history."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.seal import decode_seal
from schemas.tlog.merkle import Frontier, leaf_hash

MOST_LATE_US = 15 * 60 * 1_000_000
"""A copy that was made later than this after its last seal shows only what was there when it was made: whoever has the
key can sign a history of last year today, but not have it stamped last year."""
_CLOCKS_US = 5 * 60 * 1_000_000


class Held(NamedTuple):
    """A copy of a checkpoint that cannot have been made later than it says. `by` names who has it, as it stands in a
    sentence; `at_us` when it was made, by a clock that is not ours; `until_us` until when nobody can take it back (None:
    for ever, a time-stamp)."""

    by: str
    at_us: int
    until_us: int | None = None

    def counts(self, sealed_us: int, now_us: int) -> bool:
        """Whether it is evidence of all that was sealed up to `sealed_us`."""
        fresh = -_CLOCKS_US <= self.at_us - sealed_us <= MOST_LATE_US
        return fresh and (self.until_us is None or self.until_us > now_us)


class Anchor(NamedTuple):
    """A checkpoint of the seal log that its key signed. `place` says where it was got; `by` names who else signed it; `note`
    is it as it came."""

    place: str
    size: int
    root: bytes
    by: tuple[str, ...] = ()
    held: Held | None = None
    note: bytes = b""


class Sealed(NamedTuple):
    """A chain as a seal lists it. Times: microseconds since 1970 UTC."""

    size: int
    root: bytes
    next_offset: int
    seal_no: int
    time_us: int


@dataclass(slots=True)
class History:
    """What the seals say, in order, where a chain changed. `roots`: the log's own root at each anchor's size, as far as
    there are seals. `faults`: seals that contradict the ones before."""

    size: int = 0
    last_us: int = 0
    chains: dict[bytes, list[Sealed]] = field(default_factory=dict)
    roots: dict[int, bytes] = field(default_factory=dict)
    times: dict[int, int] = field(default_factory=dict)
    """When the last seal below each anchor's size was made."""
    faults: list[str] = field(default_factory=list)

    def agrees(self, anchor: Anchor) -> bool:
        return self.roots.get(anchor.size) == anchor.root


def read_history(leaves: Iterable[bytes], anchors: Sequence[Anchor], sizes: Iterable[int] = ()) -> History:
    """Reads the seals up to the largest anchor; roots and times are kept at `sizes` below it too. Raises ValueError where
    a leaf is no seal."""
    history, tree = History(), Frontier()
    last = max((anchor.size for anchor in anchors), default=0)
    sizes = {anchor.size for anchor in anchors} | set(sizes)
    if 0 in sizes:
        history.roots[0] = tree.root()
    pending: list[bytes] = []
    for number, leaf in enumerate(leaves):
        if number >= last:
            break
        _take(history, leaf, number)
        pending.append(leaf_hash(leaf))
        if number + 1 in sizes or len(pending) >= 4096:
            tree.extend(pending)
            pending.clear()
            if number + 1 in sizes:
                history.roots[number + 1] = tree.root()
                history.times[number + 1] = history.last_us
        history.size = number + 1
    return history


def _take(history: History, leaf: bytes, number: int) -> None:
    seal = decode_seal(leaf)
    if seal.no != number:
        history.faults.append(f"seal {number} says that it is seal {seal.no}")
    if seal.time_us <= history.last_us:
        history.faults.append(f"seal {number} is not later than the one before")
    history.last_us = seal.time_us
    listed = {chain.chain_id for chain in seal.chains}
    gone = [chain_id for chain_id in history.chains if chain_id not in listed]
    if gone:
        history.faults.append(f"seal {number} leaves out {len(gone)} chains that were sealed before")
    for chain in seal.chains:
        known = history.chains.setdefault(chain.chain_id, [])
        if known and (known[-1].size, known[-1].root) == (chain.size, chain.root):
            continue
        if known and chain.size <= known[-1].size:
            history.faults.append(
                f"seal {number} lists chain {chain.chain_id.hex()} with {chain.size} records, after {known[-1].size}"
            )
        known.append(Sealed(chain.size, chain.root, chain.next_offset, number, seal.time_us))
