"""Delivery into a directory: an edition's folder appears there whole, or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

_SCHEME = "directory:"
_ABANDONED_S = 3600.0


def folder_of(target: str, root: Path) -> Path:
    """The folder that `directory:PATH` names; a relative one lies below `root`."""
    return root / target.removeprefix(_SCHEME)


def prepare(target: str, root: Path, edition: str) -> Path:
    """An empty folder beside the place of the edition, to be filled. What an earlier try left there is removed."""
    final = folder_of(target, root) / edition
    final.parent.mkdir(parents=True, exist_ok=True)
    for left in final.parent.glob(f".{final.name}.new-*"):
        if time.time() - left.stat().st_mtime > _ABANDONED_S:
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f".{final.name}.new-", dir=final.parent))


def put(target: str, root: Path, draft: Path, edition: str, sha256: str) -> dict[str, Any]:
    """Moves a filled folder to its place; returns the receipt. Where the edition is there already, it stays as it is. Raises
    OSError, and FileExistsError where something else stands in its place."""
    final = folder_of(target, root) / edition
    draft.chmod(0o750)
    _sync(draft)
    try:
        draft.rename(final)
    except OSError:
        if not final.exists():
            raise
        shutil.rmtree(draft)
    if _document_in(final) != sha256:
        raise FileExistsError(f"{final} is there and is not edition {edition}: move it away")
    _sync(final.parent)
    return {"folder": str(final), "files": sorted(path.name for path in final.iterdir())}


def put_note(target: str, root: Path, name: str, text: str) -> dict[str, Any]:
    """A small text file, as for an alarm."""
    folder = folder_of(target, root)
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{name}.new"
    draft.write_text(text, encoding="utf-8")
    draft.replace(folder / name)
    return {"file": str(folder / name)}


def _document_in(folder: Path) -> str | None:
    """The hash of the document that a delivered folder says it is of."""
    try:
        found = json.loads((folder / "edition.json").read_bytes())
    except (OSError, ValueError):
        return None
    return found.get("sha256") if isinstance(found, dict) else None


def _sync(folder: Path) -> None:
    """Names of files outlive a power failure only once their folder is synced."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
