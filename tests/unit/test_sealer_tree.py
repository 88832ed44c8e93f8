"""The edge of a growing tree: the same tiles and roots however it grew."""

from random import Random

import pytest

from schemas.tlog.merkle import Frontier, leaf_hash, tile_root
from services.writer.sealer.tree import Edge, edge_tiles


def entries(count):
    return [b"entry %d" % number for number in range(count)]


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 511, 512, 65_535, 65_536, 66_000, 70_000])
def test_an_edge_has_the_root_of_its_tree(size):
    leaves = entries(size)
    hashes = list(map(leaf_hash, leaves))
    random, edge, at, tiles, bundles = Random(size), Edge(), 0, {}, {}
    while at < size:
        step = random.choice((1, 7, 255, 256, 257, 5000))
        growth = edge.extend(leaves[at : at + step], hashes[at : at + step])
        at = min(at + step, size)
        tiles |= {(tile.level, tile.n): tile for tile in growth.tiles}
        bundles |= {bundle.n: bundle.entries for bundle in growth.bundles}
    whole = Frontier()
    whole.extend(hashes)
    assert edge.root_or_none() == whole.root()
    assert edge.frontier().hashes == whole.hashes
    assert sorted(bundles) == list(range(size // 256))
    assert [entry for n in sorted(bundles) for entry in bundles[n]] + edge.entries == leaves
    assert sorted(n for level, n in tiles if level == 0) == list(range(size // 256))
    assert all(tile.root == tile_root(tile.hashes) for tile in tiles.values())
    assert b"".join(tiles[0, n].hashes for n in range(size // 256)) == b"".join(hashes[: size // 256 * 256])
    rebuilt = [list(edge.levels[0])]
    rebuilt += [
        [tiles[level - 1, n].root for n in range(first, end)] for level, first, end in edge_tiles(size)
    ]
    assert Edge(size, rebuilt, edge.entries).root_or_none() == whole.root()


def test_an_edge_with_something_missing_has_no_root():
    edge = Edge()
    edge.extend(entries(300), list(map(leaf_hash, entries(300))))
    assert Edge(300, [edge.levels[0][1:], edge.levels[1]]).root_or_none() is None
    assert Edge(300, [edge.levels[0]]).root_or_none() is None
    assert Edge(300, [edge.levels[0], []]).root_or_none() is None
    assert Edge(300, edge.levels).root_or_none() is not None
