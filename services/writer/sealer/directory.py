"""Publishes the trees to a directory in the layout of C2SP tlog-tiles: what any HTTP server can serve as it is.

Everything but `checkpoint` never changes once it is there. A checkpoint is replaced only after the tiles and entries
that it needs are there, so that a reader never meets one that cannot be verified.

Files are not synced one by one: that costs more than all else of a seal. Once a minute everything is synced at once, and
a marker says up to which size; what came after it is written again when the sealer starts, since a power failure may
have taken it. (The sealer's memory, which alone must never be behind, is synced with every seal.)
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from schemas.tlog.tiles import encode_bundle, entries_path, tile_path
from services.writer.sealer.memory import write_durably
from services.writer.sealer.tree import Bundle, Tile

_MARKER = ".synced.json"


class Directory:
    """`folder/PATH/{checkpoint,tile/…}` for the tree at PATH. Raises OSError where it cannot be written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def checkpoint(self, path: str) -> bytes | None:
        """The checkpoint of a tree as it is published, None where there is none."""
        try:
            return (self.folder / path / "checkpoint").read_bytes()
        except FileNotFoundError:
            return None

    def add(self, path: str, tiles: Iterable[Tile], bundles: Iterable[Bundle]) -> None:
        """Writes tiles and entry bundles, full or not."""
        files = [
            (self.folder / path / tile_path(tile.level, tile.n, tile.width), tile.hashes) for tile in tiles
        ]
        files += [
            (
                self.folder / path / entries_path(bundle.n, len(bundle.entries)),
                encode_bundle(bundle.entries),
            )
            for bundle in bundles
        ]
        _write(files)

    def replace_checkpoint(self, path: str, note: bytes) -> None:
        _write([(self.folder / path / "checkpoint", note)])

    def synced(self) -> dict[str, int]:
        """Sizes of the trees up to which everything is known to be on disk, by path."""
        try:
            found = json.loads((self.folder / _MARKER).read_bytes())
            return {str(path): int(size) for path, size in found.items()}
        except (OSError, ValueError, AttributeError):
            return {}

    def sync(self, sizes: Mapping[str, int]) -> None:
        """Waits until the disks have everything, then says so."""
        self.folder.mkdir(parents=True, exist_ok=True)
        os.sync()
        write_durably(self.folder / _MARKER, json.dumps(dict(sizes)).encode())

    def drop_unfinished(self, path: str, tiles: Iterable[Tile], bundles: Iterable[Bundle]) -> None:
        """Removes the unfinished forms of tiles that are full now (tlog-tiles allows it: the full one serves)."""
        names = [tile_path(tile.level, tile.n) for tile in tiles]
        names += [entries_path(bundle.n) for bundle in bundles]
        for name in names:
            folder = self.folder / path / f"{name}.p"
            if folder.is_dir():
                for file in folder.iterdir():
                    file.unlink(missing_ok=True)
                folder.rmdir()

    def describe(self, document: dict[str, Any]) -> None:
        """`log.json`: which logs are here. For people and for a quick start; nothing in it is to be trusted."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_durably(self.folder / "log.json", json.dumps(document, indent=1).encode() + b"\n")


def _write(files: Sequence[tuple[Path, bytes]]) -> None:
    """Writes files, each whole or not at all for whoever reads them."""
    for folder in {path.parent for path, _ in files}:
        folder.mkdir(parents=True, exist_ok=True)
    for path, content in files:
        draft = path.with_name(f".{path.name}.new")
        draft.write_bytes(content)
        draft.replace(path)
