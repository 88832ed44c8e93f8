"""The proof file of one record, piperoll-proof/v1 (PROOF_FORMAT.md): made here, checked by standalone/piperoll_verify.py."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from schemas.tlog import base64
from schemas.tlog.errors import MalformedError
from schemas.tlog.proof import TlogProof, decode_proof

FORMAT = "piperoll-proof/v1"
MEDIA_TYPE = "application/vnd.piperoll.proof+json"


class Opened(NamedTuple):
    """What a commitment is to: its salt, and the bytes of a body or of an enrichment."""

    salt: bytes
    data: bytes


class ProofFile(NamedTuple):
    """All that shows one record to somebody who has only a policy. Without `payload` or `enrichment` it shows that the
    record exists, and not what it says."""

    leaf: bytes
    payload: Opened | None
    enrichment: Opened | None
    chain_proof: TlogProof
    seal_leaf: bytes
    seal_proof: TlogProof

    def encode(self) -> bytes:
        """The file: JSON with a line for each field."""
        document = {
            "format": FORMAT,
            "leaf": base64.encode(self.leaf),
            "payload": _content(self.payload, "body"),
            "enrichment": _content(self.enrichment, "json"),
            "chain_proof": self.chain_proof.encode().decode("utf-8"),
            "seal_leaf": base64.encode(self.seal_leaf),
            "seal_proof": self.seal_proof.encode().decode("utf-8"),
        }
        return json.dumps(document, indent=1).encode("ascii") + b"\n"


def decode_proof_file(file: bytes) -> ProofFile:
    """Reads a proof file; nothing in it is verified. Raises MalformedError."""
    try:
        return _read(json.loads(file))
    except MalformedError:
        raise
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise MalformedError(f"not a proof file: {error}") from error


def _read(document: Any) -> ProofFile:
    if document["format"] != FORMAT or len(document) != 7:
        raise MalformedError(f"not a proof file of format {FORMAT}")
    return ProofFile(
        base64.decode(document["leaf"]),
        _opened(document["payload"], "body"),
        _opened(document["enrichment"], "json"),
        decode_proof(document["chain_proof"].encode()),
        base64.decode(document["seal_leaf"]),
        decode_proof(document["seal_proof"].encode()),
    )


def _content(opened: Opened | None, name: str) -> dict[str, str] | None:
    return None if opened is None else {"salt": base64.encode(opened.salt), name: base64.encode(opened.data)}


def _opened(part: Any, name: str) -> Opened | None:
    if part is None:
        return None
    if set(part) != {"salt", name}:
        raise MalformedError(f"content has the fields salt and {name}")
    return Opened(base64.decode(part["salt"]), base64.decode(part[name]))
