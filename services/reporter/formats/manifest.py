"""What was made, with its hashes: for the edition's own record, and for the evidence pack."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import TypedDict

PACK_FORMAT = "piperoll-pack/v1"


class Recorded(TypedDict):
    """A file as the record of its edition names it. `sha256` in hex."""

    name: str
    size: int
    sha256: str


def recorded(name: str, data: bytes) -> Recorded:
    return {"name": name, "size": len(data), "sha256": sha256(data).hexdigest()}


def manifest(edition: str, document_hash: str, files: Iterable[Recorded]) -> dict[str, object]:
    """manifest.json of a pack: every file in it but itself."""
    return {
        "format": PACK_FORMAT,
        "edition": edition,
        "sha256": document_hash,
        "files": sorted(files, key=lambda file: file["name"]),
    }
