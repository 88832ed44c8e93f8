"""The Merkle tree of RFC 6962 and RFC 9162 section 2.1: roots, a growing frontier, proofs and their verification.

leaf = SHA-256(0x00 || data), node = SHA-256(0x01 || left || right); a tree of n leaves is split at the largest power
of two below n. Hashes are 32 bytes, proofs lists of hashes, the leaf's sibling first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

from schemas.hashing import sha256_each
from schemas.tlog.errors import MalformedError, VerificationError

EMPTY_ROOT = sha256(b"").digest()
HASH_BYTES = 32

Subtree = Callable[[int, int], bytes]
"""subtree(level, index): the hash over the 2^level leaves from index * 2^level on."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf's data."""
    return sha256(b"\0" + data).digest()


def leaf_hashes(leaves: list[bytes]) -> list[bytes]:
    """The hash of each, all at once."""
    return sha256_each(b"\0", leaves)


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return sha256(b"\1" + left + right).digest()


class Frontier:
    """All that a tree needs to grow: its size, and the hashes of the full subtrees it is made of, largest first (one
    for each bit set in the size). Also called a compact range."""

    __slots__ = ("hashes", "size")

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self.size = size
        self.hashes = list(hashes)
        if size < 0 or len(self.hashes) != size.bit_count() or any(len(h) != HASH_BYTES for h in self.hashes):
            raise MalformedError(f"a frontier of {size} leaves is not made of {len(self.hashes)} such hashes")

    def append(self, leaf: bytes) -> None:
        """Adds one leaf hash."""
        self.extend([leaf])

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Adds leaf hashes in their order; level by level, at about the speed of SHA-256."""
        if not set(map(len, leaves)) <= {HASH_BYTES}:
            raise MalformedError("a leaf hash has 32 bytes")
        level, edge = list(leaves), []
        size = self.size
        self.size += len(level)
        while level:
            if size & 1:
                level.insert(0, self.hashes.pop())
            if len(level) & 1:
                edge.append(level.pop())
            level = sha256_each(b"\1", level[::2], level[1::2])
            size >>= 1
        self.hashes += reversed(edge)

    def root(self) -> bytes:
        """The tree's root; EMPTY_ROOT where there is no leaf."""
        return _fold(self.hashes)

    def copy(self) -> Frontier:
        """One that grows on its own."""
        return Frontier(self.size, self.hashes)

    def to_json(self) -> list[str]:
        """The hashes in hex; with the size they make the frontier again."""
        return [item.hex() for item in self.hashes]

    @classmethod
    def from_json(cls, size: int, hashes: Sequence[str]) -> Frontier:
        """The reverse of `to_json`. Raises MalformedError."""
        try:
            return cls(size, [bytes.fromhex(item) for item in hashes])
        except (TypeError, ValueError) as error:
            raise MalformedError(f"not a frontier of {size} leaves: {error}") from error


def tile_root(hashes: bytes) -> bytes:
    """The hash over a full tile: 2^k hashes one behind the other, 256 of them in a tile of height 8."""
    count = len(hashes) // HASH_BYTES
    if len(hashes) % HASH_BYTES or count == 0 or count & (count - 1):
        raise MalformedError(f"{len(hashes)} bytes are not a power of two of hashes")
    while len(hashes) > HASH_BYTES:
        pairs = [hashes[at : at + 2 * HASH_BYTES] for at in range(0, len(hashes), 2 * HASH_BYTES)]
        hashes = b"".join(sha256_each(b"\1", pairs))
    return hashes


def tree_root(size: int, subtree: Subtree) -> bytes:
    """The root of the tree's first `size` leaves."""
    return range_root(0, size, subtree) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """Shows that leaf `index` is in the tree of `size` leaves."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    start, end, proof = 0, size, []
    while end - start > 1:
        split = start + split_of(end - start)
        if index < split:
            proof.append(range_root(split, end, subtree))
            end = split
        else:
            proof.append(range_root(start, split, subtree))
            start = split
    return proof[::-1]


def consistency_proof(size1: int, size2: int, subtree: Subtree) -> list[bytes]:
    """Shows that the tree of `size1` leaves is the beginning of that of `size2`. Empty for 0 leaves, with which every
    tree is consistent, and for equal sizes."""
    if not 0 <= size1 <= size2:
        raise ValueError(f"a tree of {size1} leaves does not come before one of {size2}")
    start, end, proof = 0, size2, []
    while size1 not in (0, end):
        split = start + split_of(end - start)
        if size1 <= split:
            proof.append(range_root(split, end, subtree))
            end = split
        else:
            proof.append(range_root(start, split, subtree))
            start = split
    if start:
        proof.append(range_root(start, end, subtree))
    return proof[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """RFC 9162 section 2.1.3.2. Raises VerificationError where `leaf` (a leaf hash) is not shown to be at `index`."""
    _check_widths([leaf, root, *proof])
    if not 0 <= index < size:
        raise VerificationError(f"leaf {index} is not in a tree of {size}")
    if len(proof) != _inclusion_length(index, size):
        raise VerificationError(
            f"the inclusion proof has {len(proof)} hashes, {_inclusion_length(index, size)} belong to leaf {index} of {size}"
        )
    node, last, made = index, size - 1, leaf
    for item in proof:
        if node & 1 or node == last:
            made = node_hash(item, made)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            made = node_hash(made, item)
        node, last = node >> 1, last >> 1
    if made != root:
        raise VerificationError(
            f"leaf {index} is not in the tree of {size} with this root: the inclusion proof leads to another"
        )


def verify_consistency(size1: int, size2: int, proof: Sequence[bytes], root1: bytes, root2: bytes) -> None:
    """RFC 9162 section 2.1.4.2. Raises VerificationError where the first tree is not shown to be the beginning of the
    second. The empty tree is refused: with it every tree is consistent, and there is nothing to show."""
    _check_widths(proof)
    if not 0 < size1 <= size2:
        raise VerificationError(f"no consistency can be shown between trees of {size1} and {size2} leaves")
    if size1 == size2:
        if proof or root1 != root2:
            raise VerificationError(f"two trees of {size1} leaves have different roots, or a proof too long")
        return
    path = [root1, *proof] if size1 & (size1 - 1) == 0 else list(proof)
    node, last = size1 - 1, size2 - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    if len(path) != 1 + _inclusion_length(node, last + 1):
        raise VerificationError(f"the consistency proof from {size1} to {size2} has {len(proof)} hashes")
    old = new = path[0]
    for item in path[1:]:
        if node & 1 or node == last:
            old, new = node_hash(item, old), node_hash(item, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, item)
        node, last = node >> 1, last >> 1
    if old != root1 or new != root2:
        raise VerificationError(
            f"the tree of {size1} leaves is not the beginning of the tree of {size2}: the proof leads to other roots"
        )


def _inclusion_length(index: int, size: int) -> int:
    """How many hashes a proof has: one for each level below where the way to the leaf and the right edge part, and one
    for each subtree to the left above."""
    inner = (index ^ (size - 1)).bit_length()
    return inner + (index >> inner).bit_count()


def _check_widths(hashes: Sequence[bytes]) -> None:
    if any(len(item) != HASH_BYTES for item in hashes):
        raise VerificationError("a hash has 32 bytes")


def split_of(size: int) -> int:
    """The largest power of two below size."""
    return 1 << ((size - 1).bit_length() - 1)


def range_root(start: int, end: int, subtree: Subtree) -> bytes:
    """The hash over leaves start to end, where start is a multiple of a power of two not below end - start."""
    parts = []
    while start < end:
        level = (end - start).bit_length() - 1
        parts.append(subtree(level, start >> level))
        start += 1 << level
    return _fold(parts)


def _fold(parts: Sequence[bytes]) -> bytes:
    """One hash of subtrees from left to right, each smaller than the one before."""
    if not parts:
        return EMPTY_ROOT
    made = parts[-1]
    for item in reversed(parts[:-1]):
        made = node_hash(item, made)
    return made
