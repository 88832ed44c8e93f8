"""A C2SP witness: shows it that the seal log only grew, and gets its cosignature.

It keeps the largest checkpoint that it saw of us. A second history under our name, or a log that was set back, does not
get past it, whoever has our key.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from schemas.tlog.cosignature import CosignatureVerifier
from schemas.tlog.errors import MalformedError
from schemas.tlog.merkle import consistency_proof
from schemas.tlog.note import Signature
from schemas.tlog.tiles import HEIGHT, WIDTH, subtrees, tile_path
from schemas.tlog.witness import SIZE_TYPE, AddCheckpoint, read_cosignatures, read_size
from services.common.errors import TransientError
from services.writer.sealer.targets.aside import aside
from services.writer.sealer.targets.cosigned import Cosigned
from services.writer.sealer.targets.courier import ContradictionError
from services.writer.sealer.targets.http import Answer, post


class Witness:
    """One witness (courier.Carrier). `tiles` is the folder of the published seal log."""

    def __init__(
        self,
        name: str,
        url: str,
        verifier: CosignatureVerifier,
        tiles: Path,
        cosigned: Cosigned,
        seconds: float,
        every_s: float,
    ) -> None:
        self.name = f"witness {name}"
        self.every_s = every_s
        self._url = url.rstrip("/") + "/add-checkpoint"
        self._verifier = verifier
        self._tiles = tiles
        self._cosigned = cosigned
        self._seconds = seconds
        self._known = 0
        """The size that the witness has of us, as far as we know; 0 asks it, since it answers with what it has."""

    async def deliver(self, size: int, note: bytes) -> bytes:
        """Its cosignature lines."""
        lines = await self._cosignatures(size, note)
        self._known = size
        await aside(lambda: self._cosigned.add(size, note, lines))
        return "".join(item.line() for item in lines).encode()

    async def _cosignatures(self, size: int, note: bytes) -> list[Signature]:
        answer = await self._ask(size, note)
        if answer.status == 409:
            self._known = self._told_size(answer, size)
            answer = await self._ask(size, note)
        if answer.status == 422:
            raise ContradictionError(
                f"it does not find our checkpoint of {size} seals consistent with the one of {self._known} that it has: "
                f"{answer.short()}"
            )
        if answer.status != 200:
            raise TransientError(_meaning(answer, self._url))
        try:
            return read_cosignatures(answer.body, note, self._verifier)
        except ValueError as error:
            raise TransientError(f"{self._url} answered with no good cosignature: {error}") from error

    def _told_size(self, answer: Answer, size: int) -> int:
        """The size in a 409."""
        if answer.kind != SIZE_TYPE:
            raise TransientError(_meaning(answer, self._url))
        try:
            told = read_size(answer.body)
        except MalformedError as error:
            raise TransientError(f"{self._url} answered 409 without its size: {error}") from error
        if told > size:
            raise ContradictionError(f"it has seen {told} seals under our name, and we have signed {size}")
        return told

    async def _ask(self, size: int, note: bytes) -> Answer:
        if self._known > size:  # it has cosigned more than what is offered now
            raise ContradictionError(f"it has cosigned {self._known} seals, and we go on from {size}")
        try:
            proof = await aside(
                lambda: consistency_proof(self._known, size, subtrees(published_tiles(self._tiles, size)))
            )
        except (OSError, ValueError) as error:
            raise TransientError(f"the published tiles do not give a proof: {error}") from error
        body = AddCheckpoint(self._known, tuple(proof), note).encode()
        return await aside(lambda: post(self._url, body, "text/plain; charset=utf-8", self._seconds))


def published_tiles(folder: Path, size: int) -> Callable[[int, int], bytes]:
    """Reads the tiles of a tree of `size` leaves out of a published log. An unfinished tile is gone once the full one
    is there, which begins with it. Raises OSError."""

    def read(level: int, n: int) -> bytes:
        hashes = size >> HEIGHT * level
        width = WIDTH if n < hashes // WIDTH else hashes % WIDTH
        try:
            return (folder / tile_path(level, n, width)).read_bytes()
        except FileNotFoundError:
            return (folder / tile_path(level, n)).read_bytes()

    return read


def _meaning(answer: Answer, url: str) -> str:
    """What a status that is neither success nor contradiction asks for."""
    meanings = {
        400: "it cannot read what we sent, or the seal log has become shorter",
        403: "it does not trust our key: register the seal log's vkey there (`piperoll seal key`), and after a rotation the new one",
        404: "it does not know our log: register origin and vkey there (`piperoll seal key`)",
        409: "it has another size than we think, and does not say which",
        429: "it asks for fewer requests",
    }
    return f"{url} answered {answer.short()}: {meanings.get(answer.status, 'it cannot now')}"
