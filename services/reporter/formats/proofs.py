"""Proofs of the cited records, small enough to stand in a page: what many share (seals, checkpoints) stands once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_END_OF_HEAD = "\n\n"


def bundle(proofs: Mapping[str, bytes]) -> dict[str, Any]:
    """`proofs`: proof files (PROOF_FORMAT.md) by record, `3:17`. Gives `texts` and, for each record, the parts of its proof
    without contents: record, head and checkpoint of its chain's proof, seal, head and checkpoint of its seal's proof; a
    number stands for a text."""
    texts: dict[str, int] = {}
    records = {}
    for record, file in proofs.items():
        proof = json.loads(file)
        chain_head, chain_note = _halves(proof["chain_proof"])
        seal_head, seal_note = _halves(proof["seal_proof"])
        shared = [
            texts.setdefault(text, len(texts))
            for text in (chain_note, proof["seal_leaf"], seal_head, seal_note)
        ]
        records[record] = [proof["leaf"], chain_head, *shared]
    return {"texts": list(texts), "records": records}


def without_contents(file: bytes) -> bytes:
    """The same proof, that shows that the record exists and not what it says."""
    proof = json.loads(file) | {"payload": None, "enrichment": None}
    return json.dumps(proof, indent=1).encode("ascii") + b"\n"


def _halves(proof: str) -> tuple[str, str]:
    at = proof.index(_END_OF_HEAD) + len(_END_OF_HEAD)
    return proof[:at], proof[at:]
