"""Proofs of one entry (C2SP tlog-proof): index, inclusion proof and checkpoint in one text.

c2sp.org/tlog-proof@v1
index 73894
<base64 hash>…

<checkpoint as it was signed>
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.tlog import base64, decimal
from schemas.tlog.checkpoint import OpenedCheckpoint, open_checkpoint
from schemas.tlog.errors import MalformedError
from schemas.tlog.merkle import verify_inclusion
from schemas.tlog.note import NoteVerifier, Verifier

HEADER = "c2sp.org/tlog-proof@v1\n"


@dataclass(frozen=True)
class TlogProof:
    """A proof as it stands in its file; `extra` is not signed by anyone."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    def encode(self) -> bytes:
        """The file."""
        extra = "" if self.extra is None else f"extra {base64.encode(self.extra)}\n"
        lines = "".join(f"{base64.encode(item)}\n" for item in self.hashes)
        return f"{HEADER}{extra}index {self.index}\n{lines}\n".encode() + self.checkpoint


def decode_proof(file: bytes) -> TlogProof:
    """Reads a file; nothing is verified. Raises MalformedError."""
    head, blank, checkpoint = file.partition(b"\n\n")
    try:
        text = head.decode("ascii") + "\n"
    except UnicodeDecodeError as error:
        raise MalformedError("not a tlog-proof: the lines above the checkpoint are not ASCII") from error
    if not blank or not text.startswith(HEADER):
        raise MalformedError("not a tlog-proof: c2sp.org/tlog-proof@v1, an index and a checkpoint are wanted")
    lines = text[len(HEADER) : -1].split("\n")
    extra = None
    if lines[0].startswith("extra "):
        extra = base64.decode(lines.pop(0).removeprefix("extra "))
    if not lines or not lines[0].startswith("index "):
        raise MalformedError("not a tlog-proof: its index is missing")
    index = decimal.decode(lines[0].removeprefix("index "), "the index of a tlog-proof")
    return TlogProof(index, tuple(base64.decode_hash(line) for line in lines[1:]), checkpoint, extra)


def verify_proof(
    proof: TlogProof, leaf: bytes, log: Verifier, cosigners: Sequence[NoteVerifier] = ()
) -> OpenedCheckpoint:
    """Checks that `leaf` (a leaf hash) is in the tree of the proof's checkpoint, which `log` signed. Whether enough
    witnesses cosigned it is for a policy to say. Raises MalformedError or VerificationError."""
    opened = open_checkpoint(proof.checkpoint, log, cosigners)
    checkpoint = opened.checkpoint
    verify_inclusion(leaf, proof.index, checkpoint.size, proof.hashes, checkpoint.root)
    return opened
