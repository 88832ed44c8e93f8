"""Where a report is cut: at a seal, or, where nothing is sealed, where the chains end."""

from __future__ import annotations

from datetime import UTC

from schemas.seal import decode_seal
from services.common.errors import ConfigurationError
from services.reporter.contents.selection import QUERIES
from services.reporter.inputs import Cut
from services.reporter.period import microseconds
from services.reporter.store import Snapshot, translated


async def find_cut(snapshot: Snapshot, seal_no: int | None = None) -> Cut:
    """The last seal that the snapshot holds together with its checkpoint, or the seal `seal_no`; without any seal where the
    chains end. Raises ConfigurationError where there is no such seal."""
    with translated():
        row = await snapshot.connection.fetchrow(QUERIES["last_seal"], seal_no)
    if row is not None:
        return await _at_seal(snapshot, row["seal_no"], row["leaf"], row["root"])
    if seal_no is not None:
        raise ConfigurationError(
            f"there is no seal {seal_no} with a checkpoint; `piperoll seal status` says which is the last"
        )
    return await _at_heads(snapshot)


async def _at_seal(snapshot: Snapshot, number: int, leaf: bytes, root: bytes) -> Cut:
    try:
        seal = decode_seal(leaf)
    except ValueError:
        return await _at_heads(snapshot)  # damaged: the verification says so
    known = {row["chain_id"]: row["chain_no"] for row in await snapshot.fetch("chains")}
    sizes = {known[chain.chain_id]: chain.size for chain in seal.chains if chain.chain_id in known}
    return Cut(number, root.hex(), seal.time_us, sizes)


async def _at_heads(snapshot: Snapshot) -> Cut:
    with translated():
        rows = await snapshot.connection.fetch(QUERIES["heads"])
        now = await snapshot.connection.fetchval("SELECT transaction_timestamp()")
    return Cut(
        None, None, microseconds(now.astimezone(UTC)), {row["chain_no"]: row["next_seq"] for row in rows}
    )
