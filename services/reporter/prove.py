"""Proofs of single records, read as the reporter."""

from __future__ import annotations

from services.common.proofs import Proof, Wanted, prove
from services.reporter.store import open_snapshot, translated


async def prove_one(dsn: str, wanted: Wanted, *, content: bool = True) -> Proof:
    """The proof of one record. Raises TransientError or ConfigurationError."""
    async with open_snapshot(dsn) as snapshot:
        with translated():
            return await prove(snapshot.connection, wanted, content=content)
