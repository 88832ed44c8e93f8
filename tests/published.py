"""Reads a published log (tlog-tiles) with schemas.tlog alone: the checkpoint, every tile, every entry."""

from __future__ import annotations

from pathlib import Path

from schemas.tlog.checkpoint import Checkpoint, open_checkpoint
from schemas.tlog.merkle import Frontier, consistency_proof, leaf_hash, tile_root, verify_consistency
from schemas.tlog.note import Verifier
from schemas.tlog.tiles import decode_bundle, entries_path, subtrees, tile_path, tree_tiles


def check_published(folder: Path, log: Verifier, old: bytes | None = None) -> Checkpoint:
    """The checkpoint of a log whose files all fit it, and whose older checkpoint `old` it goes on from. Raises ValueError
    or OSError."""
    checkpoint = open_checkpoint((folder / "checkpoint").read_bytes(), log).checkpoint
    levels: dict[int, list[bytes]] = {}
    for tile in tree_tiles(checkpoint.size):
        made = levels.setdefault(tile.level, [])
        data = (folder / tile.path()).read_bytes()
        found = [data[at : at + 32] for at in range(0, len(data), 32)]
        if tile.level == 0:
            bundle = (folder / entries_path(tile.n, tile.width)).read_bytes()
            wanted = [leaf_hash(entry) for entry in decode_bundle(bundle, tile.width)]
        else:
            below, first = levels[tile.level - 1], tile.n * 256
            wanted = [
                tile_root(b"".join(below[at * 256 : at * 256 + 256]))
                for at in range(first, first + tile.width)
            ]
        if found != wanted:
            raise ValueError(f"{tile.path()} does not fit what is below it")
        made += found
    frontier = Frontier()
    frontier.extend(levels.get(0, []))
    if frontier.root() != checkpoint.root:
        raise ValueError("the tree has another root than the checkpoint")
    if old is not None:
        _check_goes_on(folder, open_checkpoint(old, log).checkpoint, checkpoint)
    return checkpoint


def _check_goes_on(folder: Path, old: Checkpoint, new: Checkpoint) -> None:
    def read(level: int, n: int) -> bytes:
        count = min(256, (new.size >> 8 * level) - n * 256)
        return (folder / tile_path(level, n, count)).read_bytes()

    if old.size > new.size:
        raise ValueError(f"the log had {old.size} entries and has {new.size} now")
    proof = consistency_proof(old.size, new.size, subtrees(read))
    verify_consistency(old.size, new.size, proof, old.root, new.root)
