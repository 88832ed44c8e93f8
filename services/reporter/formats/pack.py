"""The evidence pack: a ZIP with the edition, its events, proofs, checkpoints, policy, and the verifier of all of it.

manifest.json has the SHA-256 of every other file; the archive ends in the SHA-256 of all its bytes before, so that nothing in
it changes unseen. Who could make it anew is kept out by the record of the edition, which holds the hash of the pack. It is
written in one go, with a MiB in memory however many events there are. The same input gives the same bytes.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from services.reporter.formats.manifest import Recorded, manifest

TRAILER = b"piperoll-pack/v1 sha256:"
"""The archive's comment begins with it; 64 hex digits follow and end the file."""
_DIGITS = 64
_CHUNK = 1 << 20
_FIRST_YEAR = 1980
"""ZIP knows no earlier."""


class Pack:
    """An archive that is being written. Paths in it are ours, with no text of an event."""

    def __init__(self, archive: zipfile.ZipFile, made: datetime) -> None:
        self._archive = archive
        self._date = (max(made.year, _FIRST_YEAR), made.month, made.day, made.hour, made.minute, made.second)
        self._files: list[Recorded] = []

    def add(self, name: str, data: bytes) -> None:
        self._archive.writestr(self._entry(name), data)
        self._files.append({"name": name, "size": len(data), "sha256": sha256(data).hexdigest()})

    def add_file(self, name: str, path: Path) -> None:
        """Copies a file, hashing what was copied."""
        digest, size = sha256(), 0
        with (
            path.open("rb") as source,
            self._archive.open(self._entry(name), "w", force_zip64=True) as target,
        ):
            while chunk := source.read(_CHUNK):
                target.write(chunk)
                digest.update(chunk)
                size += len(chunk)
        self._files.append({"name": name, "size": size, "sha256": digest.hexdigest()})

    def close(self, edition: str, document_hash: str) -> None:
        """Writes the manifest, the last of the files."""
        said = manifest(edition, document_hash, self._files)
        self._archive.writestr(self._entry("manifest.json"), json.dumps(said, indent=1).encode() + b"\n")

    def _entry(self, name: str) -> zipfile.ZipInfo:
        entry = zipfile.ZipInfo(name, self._date)
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = 0o644 << 16
        entry.create_system = 3
        return entry


@contextmanager
def open_pack(file: BinaryIO, made: str) -> Iterator[Pack]:
    """`file` need not be seekable. `made`: the date of every entry (ISO 8601)."""
    sealing = _Sealing(file)
    with zipfile.ZipFile(sealing, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:  # type: ignore[call-overload]
        archive.comment = TRAILER + b"0" * _DIGITS
        yield Pack(archive, datetime.fromisoformat(made).astimezone(UTC))
    sealing.finish()


class _Sealing:
    """Holds the last 64 bytes back, and writes the hash of all others in their place. Not seekable, so that every byte is
    written once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = sha256()
        self._held = b""

    def write(self, data: bytes) -> int:
        held = self._held + bytes(data)
        out, self._held = held[:-_DIGITS], held[-_DIGITS:]
        self._digest.update(out)
        self._file.write(out)
        return len(data)

    def flush(self) -> None:
        self._file.flush()

    def finish(self) -> None:
        self._file.write(self._digest.hexdigest().encode())
