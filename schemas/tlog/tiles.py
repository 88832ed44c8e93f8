"""Tiles and entry bundles (C2SP tlog-tiles, height 8): how a tree is published as files that never change.

Tile (level, n) holds up to 256 hashes of subtrees of 256^level leaves: for a tree of 70,000 leaves, 273 full tiles and
`tile/0/273.p/112`, then `tile/1/000`, `tile/1/001.p/17` and `tile/2/000.p/1`. Bundle n holds the entries of tile (0, n).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from struct import Struct
from typing import NamedTuple

from schemas.tlog.errors import MalformedError
from schemas.tlog.merkle import HASH_BYTES, Subtree, tile_root

WIDTH = 256
HEIGHT = 8
MOST_ENTRY_BYTES = 65_535
_LENGTH = Struct(">H")


class Tile(NamedTuple):
    """Where a tile stands and how many hashes it holds."""

    level: int
    n: int
    width: int = WIDTH

    def path(self) -> str:
        """Below the log's prefix, with '/'."""
        return tile_path(*self)


def tile_path(level: int, n: int, width: int = WIDTH) -> str:
    """`tile/0/x001/x234/067`, `tile/0/273.p/112`."""
    if not 0 <= level < 64:
        raise ValueError(f"no tile has level {level}")
    return f"tile/{level}/{_index_path(n, width)}"


def entries_path(n: int, width: int = WIDTH) -> str:
    """`tile/entries/273.p/112`."""
    return f"tile/entries/{_index_path(n, width)}"


def tree_tiles(size: int, since: int = 0) -> Iterator[Tile]:
    """The tiles of a tree of `size` leaves, level by level: the full ones, and the partial one at the right edge. With
    `since`, only those that the tree of that size did not have."""
    level = 0
    while (size >> HEIGHT * level) > 0:
        hashes, before = size >> HEIGHT * level, since >> HEIGHT * level
        for n in range(before >> HEIGHT, hashes >> HEIGHT):
            yield Tile(level, n)
        if hashes % WIDTH and hashes != before:
            yield Tile(level, hashes >> HEIGHT, hashes % WIDTH)
        level += 1


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """u16 length || entry, for each of 1 to 256 entries of at most 65,535 bytes."""
    if not 1 <= len(entries) <= WIDTH:
        raise ValueError(f"a bundle has 1 to {WIDTH} entries, not {len(entries)}")
    if any(len(entry) > MOST_ENTRY_BYTES for entry in entries):
        raise ValueError(f"an entry has at most {MOST_ENTRY_BYTES} bytes")
    return b"".join(_LENGTH.pack(len(entry)) + entry for entry in entries)


def decode_bundle(data: bytes, width: int = WIDTH) -> list[bytes]:
    """The entries. Raises MalformedError unless they are exactly `width`."""
    entries: list[bytes] = []
    at = 0
    while at < len(data):
        if at + 2 > len(data):
            raise MalformedError("an entry bundle ends within a length")
        length = _LENGTH.unpack_from(data, at)[0]
        entry = data[at + 2 : at + 2 + length]
        if len(entry) != length:
            raise MalformedError(f"an entry bundle ends within entry {len(entries)}")
        entries.append(entry)
        at += 2 + length
    if len(entries) != width:
        raise MalformedError(f"an entry bundle of {width} entries has {len(entries)}")
    return entries


def subtrees(read_tile: Callable[[int, int], bytes]) -> Subtree:
    """The hashes of subtrees, for proofs, from tiles: read_tile(level, n) gives a tile's hashes (of a partial one at least
    those that the tree asked about has). Each is read once. Raises MalformedError where a tile has too few."""
    seen: dict[tuple[int, int], bytes] = {}

    def subtree(level: int, index: int) -> bytes:
        first, count = index << level % HEIGHT, 1 << level % HEIGHT
        place = (level // HEIGHT, first // WIDTH)
        if place not in seen:
            seen[place] = read_tile(*place)
        at = first % WIDTH
        hashes = seen[place][at * HASH_BYTES : (at + count) * HASH_BYTES]
        if len(hashes) != count * HASH_BYTES:
            raise MalformedError(f"{tile_path(*place)} does not have hashes {at} to {at + count - 1}")
        return tile_root(hashes)

    return subtree


def _index_path(n: int, width: int) -> str:
    if n < 0 or not 1 <= width <= WIDTH:
        raise ValueError(f"no tile has number {n} and width {width}")
    path = f"{n % 1000:03}"
    while n := n // 1000:
        path = f"x{n % 1000:03}/{path}"
    return path if width == WIDTH else f"{path}.p/{width}"
