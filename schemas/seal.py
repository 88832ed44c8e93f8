r"""The leaf of the seal log: what every chain looked like at one moment.

    "audit-seal/v1\n" | u64 no | u64 time_us | u32 n | n * (chain_id[16] | u64 size | root[32] | u64 next_offset)

sorted by chain_id, big-endian. `no` is the leaf's index in the seal log, `time_us` µs since 1970 UTC, `next_offset` the
next source offset of the chain. One leaf holds all chains, so that one that is missing is seen.
"""

from __future__ import annotations

from itertools import pairwise
from struct import Struct, error
from typing import NamedTuple

LABEL = b"audit-seal/v1\n"
_HEAD = Struct(">14sQQI")
_CHAIN = Struct(">16sQ32sQ")
MOST_CHAINS = (65_535 - _HEAD.size) // _CHAIN.size
"""So many fit into an entry of a bundle."""


class SealedChain(NamedTuple):
    """A chain's tree at the time of a seal."""

    chain_id: bytes
    size: int
    root: bytes
    next_offset: int


class Seal(NamedTuple):
    """One leaf of the seal log."""

    no: int
    time_us: int
    chains: tuple[SealedChain, ...]

    def chain(self, chain_id: bytes) -> SealedChain | None:
        """What the seal says of one chain."""
        return next((item for item in self.chains if item.chain_id == chain_id), None)


def encode_seal(seal: Seal) -> bytes:
    """The canonical bytes. Raises ValueError for chains out of order or twice, widths that do not fit, too many."""
    if len(seal.chains) > MOST_CHAINS:
        raise ValueError(f"{len(seal.chains)} chains do not fit into a seal, which holds {MOST_CHAINS}")
    _check_order(seal.chains)
    if any(len(item.chain_id) != 16 or len(item.root) != 32 for item in seal.chains):
        raise ValueError("a chain id has 16 bytes, a root 32")
    try:
        head = _HEAD.pack(LABEL, seal.no, seal.time_us, len(seal.chains))
        return head + b"".join(_CHAIN.pack(*item) for item in seal.chains)
    except error as problem:
        raise ValueError(f"a number of seal {seal.no} is not a u64: {problem}") from problem


def decode_seal(leaf: bytes) -> Seal:
    """The fields. Raises ValueError unless the bytes are exactly one seal of this version."""
    if len(leaf) < _HEAD.size or not leaf.startswith(LABEL):
        raise ValueError(f"not an audit-seal/v1 leaf: {len(leaf)} bytes, beginning {leaf[:14]!r}")
    _, no, time_us, count = _HEAD.unpack_from(leaf)
    if len(leaf) != _HEAD.size + count * _CHAIN.size or count > MOST_CHAINS:
        raise ValueError(f"a seal of {count} chains does not have {len(leaf)} bytes")
    chains = tuple(map(SealedChain._make, _CHAIN.iter_unpack(leaf[_HEAD.size :])))
    _check_order(chains)
    return Seal(no, time_us, chains)


def _check_order(chains: tuple[SealedChain, ...]) -> None:
    if any(one.chain_id >= other.chain_id for one, other in pairwise(chains)):
        raise ValueError("the chains of a seal are not sorted by chain_id, each once")
