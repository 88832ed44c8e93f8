"""Bodies of the witness protocol (C2SP tlog-witness v1.0.0): `POST …/add-checkpoint`.

    old 20852014
    <base64 hash of the consistency proof>…

    <signed checkpoint>

200 answers with cosignature lines, 409 with the size that the witness knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from schemas.tlog import base64, decimal
from schemas.tlog.cosignature import CosignatureVerifier
from schemas.tlog.errors import MalformedError, VerificationError
from schemas.tlog.note import Signature, read_signatures, split_note

MOST_HASHES = 63
SIZE_TYPE = "text/x.tlog.size"
"""The content type of a 409 that tells the witness's size."""


class AddCheckpoint(NamedTuple):
    """A request: the size that the witness is thought to know, the consistency proof from it, the signed checkpoint."""

    old_size: int
    proof: tuple[bytes, ...]
    checkpoint: bytes

    def encode(self) -> bytes:
        """The request's body."""
        if len(self.proof) > MOST_HASHES or (self.old_size == 0 and self.proof):
            raise ValueError(f"a proof of {len(self.proof)} hashes from size {self.old_size}")
        lines = "".join(f"{base64.encode(item)}\n" for item in self.proof)
        return f"old {self.old_size}\n{lines}\n".encode() + self.checkpoint


def decode_request(body: bytes) -> AddCheckpoint:
    """What a witness reads. Raises MalformedError; signature and proof are not verified."""
    head, blank, checkpoint = body.partition(b"\n\n")
    try:
        first, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise MalformedError("the lines above the checkpoint are not ASCII") from error
    if not blank or not first.startswith("old "):
        raise MalformedError("'old <size>', hashes, a blank line and a checkpoint are wanted")
    old_size = decimal.decode(first.removeprefix("old "), "the old size")
    if len(lines) > MOST_HASHES or (old_size == 0 and lines):
        raise MalformedError(f"a proof of {len(lines)} hashes from size {old_size}")
    proof = tuple(base64.decode_hash(line) for line in lines)
    split_note(checkpoint)
    return AddCheckpoint(old_size, proof, checkpoint)


def encode_cosignatures(signatures: Sequence[Signature]) -> bytes:
    """The body of a 200."""
    return "".join(item.line() for item in signatures).encode()


def read_cosignatures(body: bytes, checkpoint: bytes, witness: CosignatureVerifier) -> list[Signature]:
    """The good cosignatures of `witness` in the body of a 200; those of other keys are left out. Raises MalformedError
    or VerificationError: one that is not good, or none."""
    try:
        signatures = read_signatures(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise MalformedError("the witness's answer is not UTF-8") from error
    text, _ = split_note(checkpoint)
    own = [item for item in signatures if (item.name, item.key_id) == (witness.name, witness.key_id)]
    for item in own:
        witness.verify(text, item.value)
    if not own:
        raise VerificationError(f"the answer has no cosignature by {witness.name}")
    return own


def encode_size(size: int) -> bytes:
    """The body of a 409."""
    return f"{size}\n".encode()


def read_size(body: bytes) -> int:
    """The size in the body of a 409. Raises MalformedError."""
    text = body.decode("ascii", "replace")
    if not text.endswith("\n"):
        raise MalformedError(f"not a size and a newline: {text[:40]!r}")
    return decimal.decode(text[:-1], "the witness's size")
