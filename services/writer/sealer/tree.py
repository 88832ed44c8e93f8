"""A tree as the sealer holds it: the unfinished tiles at its right edge. Pure.

A tile of height 8 is 256 hashes; the root of a full one is an entry of the level above (tlog-tiles). Together the
unfinished tiles are the tree's frontier, which is how a wrong edge is found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.tlog.merkle import Frontier, tile_root

WIDTH = 256


class Tile(NamedTuple):
    """A tile: `n` its number at `level`, `hashes` up to 256 hashes one after the other. `root` of a full one."""

    level: int
    n: int
    hashes: bytes
    root: bytes | None = None

    @property
    def width(self) -> int:
        return len(self.hashes) // 32


class Bundle(NamedTuple):
    """Entries of one tile of level 0: the leaves themselves."""

    n: int
    entries: list[bytes]


@dataclass(slots=True)
class Growth:
    """What a tree gained: tiles and bundles that are full now."""

    tiles: list[Tile] = field(default_factory=list)
    bundles: list[Bundle] = field(default_factory=list)


class Edge:
    """The right edge of a tree of `size` leaves. `levels[l]`: the hashes of the unfinished tile of level l; `entries`:
    the leaves of the one of level 0."""

    def __init__(
        self, size: int = 0, levels: Sequence[Sequence[bytes]] = ((),), entries: Sequence[bytes] = ()
    ) -> None:
        self.size = size
        self.levels = [list(hashes) for hashes in levels] or [[]]
        self.entries = list(entries)

    def extend(self, entries: Sequence[bytes], hashes: Sequence[bytes]) -> Growth:
        """Adds leaves and their hashes; returns what is full now."""
        growth = Growth()
        before = self.size // WIDTH
        self.size += len(hashes)
        self.entries += entries
        for number in range(before, self.size // WIDTH):
            at = (number - before) * WIDTH
            growth.bundles.append(Bundle(number, self.entries[at : at + WIDTH]))
        del self.entries[: len(growth.bundles) * WIDTH]
        self._extend_level(0, hashes, growth)
        return growth

    def _extend_level(self, level: int, hashes: Sequence[bytes], growth: Growth) -> None:
        if level == len(self.levels):
            self.levels.append([])
        held = self.levels[level]
        held += hashes
        full = len(held) // WIDTH
        if not full:
            return
        after = self.size >> 8 * (level + 1)
        roots = []
        for number in range(full):
            packed = b"".join(held[number * WIDTH : (number + 1) * WIDTH])
            root = tile_root(packed)
            roots.append(root)
            growth.tiles.append(Tile(level, after - full + number, packed, root))
        del held[: full * WIDTH]
        self._extend_level(level + 1, roots, growth)

    def unfinished(self) -> list[Tile]:
        """The tiles at the edge that are not full, level 0 first; empty ones are left out."""
        return [
            Tile(level, self.size >> 8 * (level + 1), b"".join(hashes))
            for level, hashes in enumerate(self.levels)
            if hashes
        ]

    def root_or_none(self) -> bytes | None:
        """The root, or None where the edge is not one of a tree of this size: something is missing."""
        widths = [self.size >> 8 * level & 255 for level in range(len(self.levels))]
        fits = list(map(len, self.levels)) == widths and self.size >> 8 * len(widths) == 0
        return self.frontier().root() if fits else None

    def frontier(self) -> Frontier:
        """The tree's frontier, made anew from the edge."""
        hashes: list[bytes] = []
        for level in reversed(self.levels):
            part = Frontier()
            part.extend(level)
            hashes += part.hashes
        return Frontier(self.size, hashes)


def edge_tiles(size: int) -> list[tuple[int, int, int]]:
    """Of a tree of `size` leaves: (level, first, end) for each level from 1 on, whose unfinished tile is made of the
    roots of the full tiles first to before end of the level below."""
    found = []
    level = 1
    while size >> 8 * level:
        end = size >> 8 * level
        found.append((level, end // WIDTH * WIDTH, end))
        level += 1
    return found
