"""Reads a database for the verification: ranges of chains to be swept, chains to be gone through, leaves, tree roots."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

from schemas.chain import ChainVerifier, OrderReader
from schemas.tlog.merkle import Frontier, leaf_hashes
from schemas.verification.erasures import NOTHING_GONE, Coverage, Orders
from schemas.verification.links import ChainInfo, Head
from schemas.verification.result import ChainResult
from schemas.verification.sweep import Sweep, Swept
from services.common.errors import TransientError
from services.reporter.copying import Rows, payload_rows
from services.reporter.store import QUERIES, Snapshot, open_snapshot

READ_RECORDS = 8192
READ_BYTES = 32 * 1024 * 1024
"""What is in memory of a chain at once: at most so many rows and about so many bytes of payload."""
_POSTGRES_EPOCH_US = 946_684_800_000_000
_SMALLEST_SEQ, _LARGEST_SEQ = -(2**63), 2**63 - 1
Counted = Callable[[int], None]
"""Called with the number of records that were read so far."""


class Task(NamedTuple):
    """One chain to verify, in an open snapshot. `sizes`: at which sizes its tree's root is wanted, rising."""

    dsn: str
    snapshot: str
    chain: ChainInfo
    head: Head | None
    contents: bool
    sizes: tuple[int, ...] = ()
    coverage: Coverage = NOTHING_GONE


class RangeTask(NamedTuple):
    """Records `start` to before `end` of one chain."""

    dsn: str
    snapshot: str
    chain: ChainInfo
    start: int
    end: int
    contents: bool
    sizes: tuple[int, ...] = ()
    coverage: Coverage = NOTHING_GONE


class Gone(NamedTuple):
    """A chain gone through in order, and its tree's roots at the sizes wanted, as far as it has them."""

    result: ChainResult
    roots: list[tuple[int, bytes]]


async def sweep_range(snapshot: Snapshot, task: RangeTask) -> Swept | None:
    """Sweeps one range, in a snapshot opened by `open_for_sweeps`; None where it is not clean."""
    number, last = task.chain.chain_no, task.end - 1
    sweep = Sweep(task.chain, task.start, task.sizes, task.coverage, with_contents=task.contents)
    rows = Rows(sweep.records)
    await snapshot.copy("swept_records", number, task.start, last, output=rows.piece)
    if sweep.clean and rows.end():
        return None
    if sweep.clean and task.contents:
        rows = Rows(partial(_contents, sweep))
        await snapshot.copy("swept_payloads", number, task.start, last, output=rows.piece)
        if rows.end():
            raise TransientError("PostgreSQL's COPY of payloads ended within a row")
    swept = sweep.finish()
    return swept if swept is not None and swept.frontier.size == task.end - task.start else None


def _contents(sweep: Sweep, data: bytes, at: int) -> int:
    rows, after = payload_rows(data, at)
    sweep.contents(rows)
    return after


@asynccontextmanager
async def open_for_sweeps(dsn: str, name: str) -> AsyncIterator[Snapshot]:
    """A connection in the snapshot of others, whose plans read along the primary keys: already in order, and by as many
    processes as we chose."""
    async with open_snapshot(dsn, name) as snapshot:
        await snapshot.connection.execute(QUERIES["plan_for_sweeps"])
        yield snapshot


async def go_through(task: Task, counted: Counted) -> Gone:
    """Streams one chain through `ChainVerifier`, which says what happened to it."""
    verifier = ChainVerifier(task.chain, task.head, task.coverage)
    async with _opened(task.dsn, task.snapshot) as snapshot:
        await _stream(snapshot, task, verifier, counted)
        roots = await _roots(snapshot, task) if task.sizes else []
    return Gone(verifier.finish(), roots)


async def collect_orders(task: Task, orders: Orders) -> None:
    """Streams a chain of audit.system and takes the orders in it that its records commit to."""
    async with _opened(task.dsn, task.snapshot) as snapshot:
        await _stream(snapshot, task, OrderReader(task.chain, task.head, orders), lambda _count: None)


async def _stream(snapshot: Snapshot, task: Task, verifier: ChainVerifier, counted: Counted) -> None:
    """Feeds all rows of a chain; the next range is fetched meanwhile."""
    fetching = asyncio.create_task(_next_range(snapshot, task, _SMALLEST_SEQ))
    try:
        while (found := await fetching) is not None:
            fetching = asyncio.create_task(_next_range(snapshot, task, found.last + 1))
            await asyncio.sleep(0)
            verifier.feed(found.records, found.payloads)
            counted(verifier.result.records)
    finally:
        fetching.cancel()
        await asyncio.gather(fetching, return_exceptions=True)


async def _roots(snapshot: Snapshot, task: Task) -> list[tuple[int, bytes]]:
    """The roots of the tree over whatever leaves stand there, in the order of their numbers."""
    tree, roots, sizes = Frontier(), [], list(task.sizes)
    async for leaves in leaves_of(snapshot, task.chain.chain_no):
        hashes = leaf_hashes(leaves)
        while sizes and sizes[0] <= tree.size + len(hashes):
            upto = sizes[0] - tree.size
            tree.extend(hashes[:upto])
            hashes = hashes[upto:]
            roots.append((sizes.pop(0), tree.root()))
        tree.extend(hashes)
    return roots


async def leaves_of(
    snapshot: Snapshot, chain_no: int, first: int = _SMALLEST_SEQ
) -> AsyncIterator[list[bytes]]:
    """The leaves of a chain from number `first` on, in lists."""
    while True:
        rows = await snapshot.fetch("leaves", chain_no, first, READ_RECORDS)
        if not rows:
            return
        yield [row["leaf"] for row in rows]
        first = rows[-1]["seq"] + 1


class _Range(NamedTuple):
    last: int
    records: list[Any]
    payloads: list[Any] | None


async def _next_range(snapshot: Snapshot, task: Task, start: int) -> _Range | None:
    if start > _LARGEST_SEQ:
        return None
    number = task.chain.chain_no
    if task.contents:
        ends = await snapshot.fetch("next_range", number, start, READ_RECORDS, READ_BYTES)
    else:
        ends = await snapshot.fetch("next_records", number, start, READ_RECORDS)
    if not ends:
        return None
    first, last = ends[0]
    records = await snapshot.fetch("records", number, first, last)
    payloads = await snapshot.fetch("payloads", number, first, last) if task.contents else None
    return _Range(last, records, payloads)


@asynccontextmanager
async def _opened(dsn: str, name: str) -> AsyncIterator[Snapshot]:
    """A connection in the snapshot of others, with times as microseconds."""
    async with open_snapshot(dsn, name) as snapshot:
        await snapshot.connection.set_type_codec(
            "timestamptz", schema="pg_catalog", format="tuple", encoder=_as_tuple, decoder=_as_microseconds
        )
        yield snapshot


def _as_tuple(microseconds: int) -> tuple[int]:
    return (microseconds - _POSTGRES_EPOCH_US,)


def _as_microseconds(said: Sequence[int]) -> int:
    """PostgreSQL counts from the year 2000."""
    return said[0] + _POSTGRES_EPOCH_US
