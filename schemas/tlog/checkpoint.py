"""Checkpoints (C2SP tlog-checkpoint v1.0.0): a signed note whose text is a log's origin, size and root.

example.com/log
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from schemas.tlog import base64, decimal
from schemas.tlog.errors import MalformedError, VerificationError
from schemas.tlog.merkle import EMPTY_ROOT, HASH_BYTES
from schemas.tlog.note import Note, NoteSigner, NoteVerifier, Verifier, check_text, open_note, sign_note


class Checkpoint(NamedTuple):
    """What a log says of itself: that its first `size` leaves have this root."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """The note's text. Raises MalformedError for what would not read back."""
        text = "".join(
            f"{line}\n" for line in (self.origin, self.size, base64.encode(self.root), *self.extensions)
        )
        if parse_checkpoint(text) != self:
            raise MalformedError(f"a checkpoint that does not read back as it is: {text[:200]!r}")
        return text


class OpenedCheckpoint(NamedTuple):
    """A checkpoint, and the note it stood in: signed by the log, `note.verified` has the other signatures too."""

    checkpoint: Checkpoint
    note: Note


def parse_checkpoint(text: str) -> Checkpoint:
    """The fields of a note's text. Raises MalformedError."""
    check_text(text)
    origin, *rest = text[:-1].split("\n")
    if len(rest) < 2 or not origin or not all(rest):
        raise MalformedError("a checkpoint has lines for origin, size and root, none of them empty")
    size, root = decimal.decode(rest[0], "the size of a checkpoint"), base64.decode(rest[1])
    if len(root) != HASH_BYTES:
        raise MalformedError(f"the root of a checkpoint has 32 bytes, this one {len(root)}")
    if size == 0 and root != EMPTY_ROOT:
        raise MalformedError("a checkpoint of size 0 has another root than that of the empty tree")
    return Checkpoint(origin, size, root, tuple(rest[2:]))


def sign_checkpoint(checkpoint: Checkpoint, signers: Sequence[NoteSigner]) -> bytes:
    """The signed note."""
    return sign_note(checkpoint.text(), signers)


def open_checkpoint(note: bytes, log: Verifier, cosigners: Sequence[NoteVerifier] = ()) -> OpenedCheckpoint:
    """Reads a checkpoint that `log` signed; its origin is the name of that key. Raises MalformedError or
    VerificationError: no good signature by the log, a bad one by a known cosigner, or another log's origin."""
    opened = open_note(note, [log, *cosigners])
    if not any((item.name, item.key_id) == (log.name, log.key_id) for item in opened.verified):
        raise VerificationError(f"the checkpoint is not signed by {log.name} with the key that is expected")
    checkpoint = parse_checkpoint(opened.text)
    if checkpoint.origin != log.name:
        raise VerificationError(f"the checkpoint is of {checkpoint.origin!r}, not of {log.name!r}")
    return OpenedCheckpoint(checkpoint, opened)
