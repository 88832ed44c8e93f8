"""Proofs of single records, read as the reporter."""

from __future__ import annotations

from services.common.proofs import Place, Proof, prove_event, prove_record
from services.reporter.store import open_snapshot, translated


async def prove_one(dsn: str, wanted: int | tuple[str, str], *, content: bool = True) -> Proof:
    """The proof of the record with this number, or of the event of this source and id. Raises TransientError or
    ConfigurationError."""
    async with open_snapshot(dsn) as snapshot:
        with translated():
            if isinstance(wanted, int):
                return await prove_record(snapshot.connection, Place.of(wanted), content=content)
            return await prove_event(snapshot.connection, *wanted, content=content)
