"""The newest checkpoint that enough witnesses have cosigned: `seal/checkpoint.cosigned` beside `seal/checkpoint`.

A file of its own, since the checkpoint is replaced every few seconds and has no cosignature yet: a verifier that asks for
witnesses must find the newest one that has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from schemas.tlog.checkpoint import parse_checkpoint
from schemas.tlog.cosignature import CosignatureVerifier
from schemas.tlog.note import Signature, open_note, split_note
from schemas.tlog.policy import Policy
from services.common.logging import get_logger
from services.writer.sealer.memory import write_durably

log = get_logger(__name__)
COSIGNED = "checkpoint.cosigned"
_MOST_OPEN = 64


class Cosigned:
    """What witnesses have cosigned so far. `folder` is that of the published seal log."""

    def __init__(self, folder: Path, policy: Policy) -> None:
        self._path = folder / COSIGNED
        self._policy = policy
        self._verifiers: list[CosignatureVerifier] = list(policy.witnesses.values())
        self._open: dict[int, bytes] = {}

    def add(self, size: int, note: bytes, lines: Sequence[Signature]) -> None:
        """Cosignatures that were verified, for a checkpoint of ours. Durable when it returns, if they are enough.
        Raises OSError."""
        published = self._published()
        if published is not None and published[0] > size:
            return
        known = published[1] if published is not None and published[0] == size else b""
        base = next(
            (item for item in (self._open.get(size), known) if item and _text(item) == _text(note)), note
        )
        merged = _with(base, lines)
        self._open[size] = merged
        if self._policy.is_met(self._policy.witnessed_by(open_note(merged, self._verifiers))):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(self._path, merged)
            self._open = {other: item for other, item in self._open.items() if other >= size}
        for other in sorted(self._open)[:-_MOST_OPEN]:
            del self._open[other]

    def _published(self) -> tuple[int, bytes] | None:
        """The file that is there, with its size; None where there is none, or none that can be read."""
        try:
            note = self._path.read_bytes()
            return parse_checkpoint(_text(note)).size, note
        except FileNotFoundError:
            return None
        except ValueError as error:
            log.warning("cosigned_unreadable", path=str(self._path), error=str(error))
            return None


def _text(note: bytes) -> str:
    return split_note(note)[0]


def _with(note: bytes, lines: Sequence[Signature]) -> bytes:
    """The note with signature lines more; a key that stands there already has its line replaced."""
    text, held = split_note(note)
    new = {(item.name, item.key_id) for item in lines}
    kept = [item for item in held if (item.name, item.key_id) not in new]
    return (text + "\n" + "".join(item.line() for item in [*kept, *lines])).encode()
