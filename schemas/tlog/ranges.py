"""Proofs of a range of leaves: that leaves start to before end, all of them and in this order, are in a tree.

Not in RFC 9162, and made of the same parts: going down from the root, a subtree that has no leaf of the range stands in the
proof as its hash, left to right; one that has is split. Of a tree of n leaves a proof has at most 2·log2(n) hashes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from schemas.tlog.errors import VerificationError
from schemas.tlog.merkle import HASH_BYTES, Frontier, Subtree, node_hash, range_root, split_of

_AT_ONCE = 65_536
"""Leaf hashes in memory at once."""


def range_proof(start: int, end: int, size: int, subtree: Subtree) -> list[bytes]:
    """The hashes around leaves `start` to before `end` of the tree of `size` leaves."""
    if not 0 <= start < end <= size:
        raise ValueError(f"leaves {start} to {end} are no range of a tree of {size}")
    return list(_around(0, size, start, end, subtree))


def _around(low: int, high: int, start: int, end: int, subtree: Subtree) -> Iterator[bytes]:
    if high <= start or low >= end:
        yield range_root(low, high, subtree)
    elif not (start <= low and high <= end):
        middle = low + split_of(high - low)
        yield from _around(low, middle, start, end, subtree)
        yield from _around(middle, high, start, end, subtree)


def verify_range(
    leaves: Iterator[bytes], start: int, end: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Raises VerificationError where `leaves` (leaf hashes, taken one after the other, exactly end - start of them) are not
    shown to be leaves `start` to before `end`."""
    if not 0 <= start < end <= size or any(len(item) != HASH_BYTES for item in proof):
        raise VerificationError(f"leaves {start} to {end} are no range of a tree of {size}")
    hashes = iter(proof)
    made = _made(0, size, start, end, leaves, hashes)
    if next(hashes, None) is not None or next(leaves, None) is not None:
        raise VerificationError("the proof has more hashes, or more leaves came, than the range has")
    if made != root:
        raise VerificationError(
            f"leaves {start} to {end - 1} are not in the tree of {size} with this root: the proof leads to another"
        )


def _made(
    low: int, high: int, start: int, end: int, leaves: Iterator[bytes], hashes: Iterator[bytes]
) -> bytes:
    if high <= start or low >= end:
        outside = next(hashes, None)
        if outside is None:
            raise VerificationError("the proof has too few hashes")
        return outside
    if start <= low and high <= end and high - low <= _AT_ONCE:
        some = list(islice(leaves, high - low))
        if len(some) < high - low:
            raise VerificationError(f"only {low + len(some) - start} of the {end - start} leaves are there")
        part = Frontier()
        part.extend(some)
        return part.root()
    middle = low + split_of(high - low)
    left = _made(low, middle, start, end, leaves, hashes)
    return node_hash(left, _made(middle, high, start, end, leaves, hashes))
