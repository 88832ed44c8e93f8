"""Makes the proof of whole ranges of chains out of the tables: what lies beside an archive."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from schemas.archive_proof import ArchiveProof, ChainRange
from schemas.seal import decode_seal
from schemas.tlog.ranges import range_proof
from services.common.proofs import SEAL_LOG, Connection, read_tiles, tlog_proof, top_checkpoint
from services.common.queries import load_queries

_QUERIES = load_queries(Path(__file__).with_name("proofs.sql"))


class Span(NamedTuple):
    """Records `first` to before `end` of a chain."""

    chain_no: int
    chain_id: bytes
    first: int
    end: int


class NotSealedError(Exception):
    """Not all of the records are sealed."""


async def prove_spans(connection: Connection, spans: Sequence[Span]) -> ArchiveProof:
    """One seal over all of them, the oldest there is. What it is made of is checked when the proof is: compare it with the
    archive. Raises NotSealedError; ValueError where what was sealed is damaged; asyncpg's errors."""
    number = max([await _sealed_by(connection, span) for span in spans])
    leaf = await connection.fetchval(_QUERIES["seal"], number)
    if leaf is None:
        raise ValueError(f"seal {number} is missing")
    seal = decode_seal(leaf)
    top, cosignatures = await top_checkpoint(connection, number)
    chains = []
    for span in spans:
        listed = seal.chain(span.chain_id)
        if listed is None or listed.size < span.end:
            raise ValueError(f"seal {number} does not cover chain {span.chain_no}")
        ask = partial(range_proof, span.first, span.end, listed.size)
        subtree = await read_tiles(connection, span.chain_no, listed.size, ask)
        chains.append(ChainRange(span.chain_id, span.first, span.end, tuple(ask(subtree))))
    top_proof = await tlog_proof(connection, SEAL_LOG, number, leaf, top, cosignatures)
    return ArchiveProof(leaf, top_proof, tuple(chains))


async def _sealed_by(connection: Connection, span: Span) -> int:
    row = await connection.fetchrow(_QUERIES["first_checkpoint"], span.chain_no, span.end - 1)
    if row is None:
        raise NotSealedError(f"record {span.end - 1} of chain {span.chain_no} is not sealed yet")
    return int(row["seal_no"])
