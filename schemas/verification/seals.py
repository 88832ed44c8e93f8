"""The seal log as a history: what was signed of each chain, and whether several checkpoints tell the same history."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.seal import decode_seal
from schemas.tlog.merkle import Frontier, leaf_hash


class Anchor(NamedTuple):
    """A checkpoint of the seal log that its key signed. `place` says where it was got; `by` names who else signed it; `note`
    is it as it came."""

    place: str
    size: int
    root: bytes
    by: tuple[str, ...] = ()
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


def read_history(leaves: Iterable[bytes], anchors: Sequence[Anchor]) -> History:
    """Reads the seals up to the largest anchor. Raises ValueError where a leaf is no seal."""
    history, tree = History(), Frontier()
    sizes = sorted({anchor.size for anchor in anchors})
    if 0 in sizes:
        history.roots[0] = tree.root()
    last = sizes[-1] if sizes else 0
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
