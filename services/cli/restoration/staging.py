"""Puts bytes into audit.restoration, and gives the orders that have them put back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

import asyncpg

from schemas.own_events import MOST_NAMED, RESTORE
from services.cli.ordering import RecordedOrder, Request, give_orders, make_order
from services.cli.restoration.damage import Damaged
from services.cli.restoration.gathering import QUERIES
from services.cli.restoration.sources import Spares
from services.common.settings import KafkaSettings
from services.reporter.store import translated

SOURCE = "piperoll/restore"


def put_back(
    settings: KafkaSettings,
    dsn: str,
    request: Request,
    spares: Spares,
    chain_ids: dict[int, bytes],
    source: str,
    patience_s: float,
) -> list[RecordedOrder]:
    """Stages and orders, up to 4,000 records at a time; the highest numbers first, since each leaf is held to the one
    behind it. `dsn` is of a role that may write audit.restoration (piperoll_operator)."""
    wanted = sorted((Damaged(*key) for key in spares), key=lambda one: (one.what, one.chain_no, -one.seq))
    chunks = [wanted[at : at + MOST_NAMED] for at in range(0, len(wanted), MOST_NAMED)]
    recorded: list[RecordedOrder] = []
    for number, chunk in enumerate(chunks, 1):
        batch = os.urandom(16)
        records = [
            {"chain_id": chain_ids[one.chain_no].hex(), "seq": one.seq, "what": one.what} for one in chunk
        ]
        facts = {"source": source, "batch": batch.hex(), "records": records}
        order = make_order(RESTORE, SOURCE, request, facts, number, len(chunks))
        asyncio.run(_stage(dsn, batch, chunk, spares))
        recorded += give_orders(settings, dsn, order, patience_s)
    return recorded


async def _stage(dsn: str, batch: bytes, wanted: Sequence[Damaged], spares: Spares) -> None:
    with translated():
        connection = await asyncpg.connect(dsn, timeout=10)
        try:
            rows = [(batch, *one, *spares[one.chain_no, one.seq, one.what]) for one in wanted]
            async with connection.transaction():
                await connection.executemany(QUERIES["stage"], rows)
        finally:
            await connection.close()
