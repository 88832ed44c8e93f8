"""Proofs of the records that a report cites, from the same snapshot that it was counted in."""

from __future__ import annotations

from collections.abc import Iterable

from services.common.proofs import Place, State, prove
from services.reporter.store import Snapshot, translated


async def prove_cited(
    snapshot: Snapshot, records: Iterable[str], *, content: bool = True
) -> dict[str, bytes]:
    """Proof files by record (`3:17`). What is not sealed yet, or is not as it was sealed, has none: a report is made all the
    same, and says so. Raises TransientError or ConfigurationError."""
    proofs = {}
    with translated():
        for record in records:
            chain_no, _, seq = record.partition(":")
            found = await prove(snapshot.connection, Place(int(chain_no), int(seq)), content=content)
            if found.state is State.PROVED:
                proofs[record] = found.file
    return proofs
