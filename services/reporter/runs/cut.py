"""Where an edition is cut: at the last seal that is signed, or at the heads where nothing is sealed."""

from __future__ import annotations

from schemas.seal import decode_seal
from services.common.errors import TransientError
from services.reporter.document import Cut
from services.reporter.runs.ledger import QUERIES
from services.reporter.store import Snapshot, translated


async def last_cut(snapshot: Snapshot, now_us: int) -> Cut:
    """Of the snapshot. Raises TransientError where the last seal cannot be read."""
    with translated():
        chains = await snapshot.connection.fetch(QUERIES["sizes"])
        sealed = await snapshot.connection.fetchrow(QUERIES["last_seal"])
    if sealed is None:
        return Cut(None, None, now_us, {row["chain_no"]: row["next_seq"] for row in chains})
    try:
        seal = decode_seal(sealed["leaf"])
    except ValueError as error:
        raise TransientError(
            f"seal {sealed['seal_no']} cannot be read: {error}; run `piperoll verify`"
        ) from error
    sizes = {item.chain_id: item.size for item in seal.chains}
    known = {row["chain_no"]: sizes[row["chain_id"]] for row in chains if row["chain_id"] in sizes}
    return Cut(seal.no, sealed["root"].hex(), seal.time_us, known)
