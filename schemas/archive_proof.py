"""The proof beside an archive, piperoll-archive-proof/v1: that its records are those that were sealed (PROOF_FORMAT.md 6).

One seal that covers all of them, its place in the seal log, and for each chain the hashes around its range of records.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from schemas.tlog import base64
from schemas.tlog.proof import TlogProof, decode_proof

FORMAT = "piperoll-archive-proof/v1"
SUFFIX = ".proof"
"""Behind the whole name of the archive."""
_FIELDS = {"format", "seal_leaf", "seal_proof", "chains"}
_RANGE_FIELDS = {"chain_id", "first", "end", "hashes"}


class ChainRange(NamedTuple):
    """Records `first` to before `end` of a chain, and the hashes around them in the tree that the seal lists."""

    chain_id: bytes
    first: int
    end: int
    hashes: tuple[bytes, ...]


@dataclass(frozen=True)
class ArchiveProof:
    """The file's content."""

    seal_leaf: bytes
    seal_proof: TlogProof
    chains: tuple[ChainRange, ...]

    def encode(self) -> bytes:
        """The file."""
        document = {
            "format": FORMAT,
            "seal_leaf": base64.encode(self.seal_leaf),
            "seal_proof": self.seal_proof.encode().decode(),
            "chains": [
                {
                    "chain_id": item.chain_id.hex(),
                    "first": item.first,
                    "end": item.end,
                    "hashes": list(map(base64.encode, item.hashes)),
                }
                for item in self.chains
            ],
        }
        return json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"


def decode_archive_proof(data: bytes) -> ArchiveProof:
    """Raises ValueError for anything but such a file."""
    try:
        document = json.loads(data)
        if document["format"] != FORMAT or set(document) != _FIELDS:
            raise ValueError(f"not a file of format {FORMAT}")
        return ArchiveProof(
            base64.decode(document["seal_leaf"]),
            decode_proof(document["seal_proof"].encode()),
            tuple(map(_range, document["chains"])),
        )
    except (AttributeError, TypeError, KeyError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"not a file of format {FORMAT}: {error!r}") from error


def _range(fields: Mapping[str, Any]) -> ChainRange:
    if set(fields) != _RANGE_FIELDS or not all(type(fields[name]) is int for name in ("first", "end")):
        raise ValueError("a range has a chain_id, the numbers first and end, and hashes")
    chain_id = bytes.fromhex(fields["chain_id"])
    if len(chain_id) != 16:
        raise ValueError("a chain id has 16 bytes")
    return ChainRange(
        chain_id, fields["first"], fields["end"], tuple(map(base64.decode_hash, fields["hashes"]))
    )
