"""The hashes of an edition's files: on record before anybody gets the files, and the proof of that beside them.

In order: the files are rendered into a folder; an own event says their hashes (`piperoll.report.files`); the proof of its
record is waited for, which is there once writer and sealer have come to it; `edition.json` says how that ended. A crash
anywhere leaves at most the event, and files that nobody got: whoever comes next renders them again. The event's id follows
from what it says, so the same files said twice are recorded once.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from services.common.clock import Clock
from services.common.errors import ConfigurationError, FatalError, TransientError
from services.common.proofs import Name, State
from services.reporter.attachments import replacing
from services.reporter.document import canonical, edition_hash
from services.reporter.formats import FORMATS
from services.reporter.formats.manifest import Recorded
from services.reporter.prove import prove_one
from services.reporter.runs.making import Wish
from services.reporter.runs.own_events import FILES, SOURCE, own_event
from services.reporter.runs.rows import Edition

MANIFEST = "edition.json"
"""Names the edition, its hash and those of the files beside it, and the record of those. It stands on no record itself."""
PROOF = "edition.piperoll-proof"
"""The proof of that record, with its payload."""
NOT_SEALED = "nothing has been sealed yet: no sealer runs"
PATIENCE_S = 30.0
_ASK_AGAIN_S = 0.5
_CHUNK = 1 << 20
Record = Callable[[Sequence[bytes]], None]
"""Puts own events on audit.system, and returns when they are durable."""
_CANNOT = (TransientError, ConfigurationError)


class NotTheSameError(FatalError):
    """An edition cannot be made again as it was: what it was made of is gone, or changed."""


class Filed(NamedTuple):
    """All files in the folder; `unproved` says why the proof is not among them, None where it is."""

    paths: list[Path]
    unproved: str | None


class Filing:
    """Where hashes are put on record. `patience_s`: how long a proof is waited for, seconds; `told` gets what is waited for."""

    def __init__(
        self,
        dsn: str,
        record: Record,
        patience_s: float,
        clock: Clock,
        told: Callable[[str], None] = lambda _what: None,
    ) -> None:
        self._dsn = dsn
        self._record = record
        self._patience_s = patience_s
        self._clock = clock
        self._told = told
        self._in_vain = False

    def begin(self) -> None:
        """Of a turn: what was waited for in vain is waited for again."""
        self._in_vain = False

    async def file(
        self,
        edition: Edition,
        document: Mapping[str, Any],
        wish: Wish,
        recipient: str,
        folder: Path,
        paths: Sequence[Path],
    ) -> Filed:
        """Puts the hashes of `paths` on record, and PROOF and MANIFEST beside them. Where the edition was cut without a seal there
        is no proof to wait for. Raises TransientError or ConfigurationError where the hashes cannot be put on record, and
        NotTheSameError where `document` is not that of the edition."""
        files = await asyncio.to_thread(_recorded, paths)
        event, identifier = files_event(edition, document, wish, recipient, files, self._clock())
        await asyncio.to_thread(self._record, [event])
        sealed = edition.inputs.cut.seal_no is not None
        unproved = await self._prove(identifier, folder / PROOF) if sealed else NOT_SEALED
        whole = [*paths] if unproved else [*paths, folder / PROOF]
        return Filed([*whole, write_manifest(document, wish, folder, files, identifier, unproved)], unproved)

    async def _prove(self, identifier: str, path: Path) -> str | None:
        """Waits, and writes the proof; returns why there is none."""
        patience_s = 0.0 if self._in_vain else self._patience_s
        if patience_s:
            self._told(f"waiting up to {patience_s:.0f} s until the hashes of the files are sealed")
        until = time.monotonic() + patience_s
        while True:
            try:
                found = await prove_one(self._dsn, Name(SOURCE, identifier))
            except _CANNOT as error:
                return str(error)
            if found.state is State.PROVED:
                await asyncio.to_thread(path.write_bytes, found.file)
                return None
            if found.state not in (State.ABSENT, State.NOT_SEALED) or time.monotonic() >= until:
                self._in_vain = True
                return f"not within {self._patience_s:.0f} s: {found.text}. `piperoll prove --source {SOURCE} --event-id {identifier}` makes it later"
            await asyncio.sleep(_ASK_AGAIN_S)


def files_event(
    edition: Edition,
    document: Mapping[str, Any],
    wish: Wish,
    recipient: str,
    files: Sequence[Recorded],
    now_us: int,
) -> tuple[bytes, str]:
    """The own event that says the hashes of files, and its id. Raises NotTheSameError where `document`, of which the files were
    made, is not the one whose hash the edition's row has: else any file could get a proof as the edition's."""
    found = {edition_hash(document)}
    if wish.detail == "full":
        found |= {file["sha256"] for file in files if file["name"] == FORMATS["json"].file}
    if found != {edition.sha256}:
        raise NotTheSameError(
            f"these files are not those of edition {edition.id} (SHA-256 {edition.sha256}): they are not put on record as its own"
        )
    data = {
        "edition": edition.id,
        "sha256": edition.sha256,
        "recipient": recipient,
        "detail": wish.detail,
        "files": list(files),
    }
    identifier = f"report-files:{data['edition']}:{sha256(canonical(data)).hexdigest()[:40]}"
    return own_event(FILES, identifier, data, now_us), identifier


def write_manifest(
    document: Mapping[str, Any],
    wish: Wish,
    folder: Path,
    files: Sequence[Recorded],
    identifier: str | None,
    unproved: str | None,
) -> Path:
    """MANIFEST; `identifier` None: the hashes are on no record."""
    told = {
        "edition": document["edition"]["id"],
        "sha256": edition_hash(document),
        "detail": wish.detail,
        "files": {file["name"]: file["sha256"] for file in files},
        "record": None if identifier is None else {"source": SOURCE, "id": identifier},
        "proof": PROOF if unproved is None else None,
        "why_no_proof": unproved,
    }
    with replacing(folder / MANIFEST) as target:
        target.write(json.dumps(told, indent=1).encode() + b"\n")
    return folder / MANIFEST


def unrecorded(
    document: Mapping[str, Any], wish: Wish, folder: Path, paths: Sequence[Path], why: str
) -> list[Path]:
    """MANIFEST beside files whose hashes are on no record; all paths."""
    return [*paths, write_manifest(document, wish, folder, _recorded(paths), None, why)]


def _recorded(paths: Sequence[Path]) -> list[Recorded]:
    """In constant memory."""
    made: list[Recorded] = []
    for path in paths:
        digest, size = sha256(), 0
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
        made.append({"name": path.name, "size": size, "sha256": digest.hexdigest()})
    return made
