"""Verifies the chains of a database, several at once in processes of their own, all in one snapshot.

The database is only asked for rows; what they are worth is computed here, by `schemas.chain`.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from schemas.chain import ChainVerifier
from schemas.verification.ends import compare_succession
from schemas.verification.findings import Change, Finding, Part
from schemas.verification.links import ChainInfo, Head
from schemas.verification.result import ChainResult
from services.common.errors import ConfigurationError, TransientError
from services.reporter.holes import find_holes
from services.reporter.store import Snapshot, open_snapshot

RANGE_RECORDS = 8192
RANGE_BYTES = 32 * 1024 * 1024
"""A range of a chain that is in memory at once: at most so many rows and about so many bytes of payload."""
_FEW_RECORDS = 20_000
"""Up to so many are verified in this process: starting others takes longer."""
_POSTGRES_EPOCH_US = 946_684_800_000_000
_SMALLEST_SEQ, _LARGEST_SEQ = -(2**63), 2**63 - 1

Progress = Callable[[int, int], None]
"""Called now and then with (records verified, records in all)."""


@dataclass(frozen=True)
class Verification:
    """What was verified. `chains` are those that were read, `partial` tells that others were left out; `taken_us` is
    when the snapshot was taken (microseconds since 1970 UTC), `seconds` how long it took."""

    chains: list[ChainResult]
    others: list[Finding] = field(default_factory=list)
    """Findings about more than one chain."""
    partial: bool = False
    with_contents: bool = True
    taken_us: int = 0
    seconds: float = 0.0

    @property
    def records(self) -> int:
        return sum(result.records for result in self.chains)

    @property
    def found(self) -> int:
        """The number of findings, also of those that were not kept."""
        return len(self.others) + sum(result.found for result in self.chains)

    @property
    def findings(self) -> list[Finding]:
        """The findings kept, chain by chain."""
        return [*self.others, *(finding for result in self.chains for finding in result.findings)]

    @property
    def good(self) -> bool:
        return self.found == 0


class Task(NamedTuple):
    """One chain to verify, in an open snapshot."""

    dsn: str
    snapshot: str
    chain: ChainInfo
    head: Head | None
    contents: bool


async def verify_database(
    dsn: str,
    *,
    chains: Collection[int] | None = None,
    contents: bool = True,
    processes: int | None = None,
    progress: Progress = lambda _done, _total: None,
) -> Verification:
    """Verifies all chains of the database at `dsn`, or those with the numbers `chains`; without `contents` the
    records alone, no payloads. Raises TransientError or ConfigurationError where it cannot."""
    async with open_snapshot(dsn) as snapshot:
        return await verify_snapshot(
            dsn, snapshot, chains=chains, contents=contents, processes=processes, progress=progress
        )


async def verify_snapshot(
    dsn: str,
    snapshot: Snapshot,
    *,
    chains: Collection[int] | None = None,
    contents: bool = True,
    processes: int | None = None,
    progress: Progress = lambda _done, _total: None,
) -> Verification:
    """`verify_database` in a snapshot that is open already, so that what is read from it is what was verified."""
    start, taken_us = time.monotonic(), time.time_ns() // 1000
    known = [_read_chain(row) for row in await snapshot.fetch("chains")]
    unknown = {row["chain_no"] for row in await snapshot.fetch("chain_numbers")} - {
        info.chain_no for info, _ in known
    }
    if chains is not None:
        missing = sorted(set(chains) - {info.chain_no for info, _ in known} - unknown)
        if missing:
            raise ConfigurationError(f"there is no chain {', '.join(map(str, missing))}")
    wanted = [(info, head) for info, head in known if chains is None or info.chain_no in chains]
    tasks = [Task(dsn, snapshot.name, info, head, contents) for info, head in wanted]
    results = await _run(tasks, processes or os.cpu_count() or 1, progress)
    others = [] if chains is not None else compare_succession(results)
    others += await find_holes(snapshot, wanted)
    others += [_without_chain(number) for number in sorted(unknown) if chains is None or number in chains]
    return Verification(results, others, chains is not None, contents, taken_us, time.monotonic() - start)


def _read_chain(row: Any) -> tuple[ChainInfo, Head | None]:
    info = ChainInfo(*(row[name] for name in ChainInfo._fields))
    return info, None if row["next_seq"] is None else Head(*(row[name] for name in Head._fields))


def _without_chain(chain_no: int) -> Finding:
    text = "rows stand under a chain number that audit.chain does not have: its row is gone"
    return Finding(chain_no, Change.DELETED, Part.CHAIN, text)


async def _run(tasks: Sequence[Task], processes: int, progress: Progress) -> list[ChainResult]:
    """The results in the order of the tasks."""
    total = sum(_length(task) for task in tasks)
    if total <= _FEW_RECORDS or processes == 1 or len(tasks) < 2:
        results: list[ChainResult] = []
        for task in tasks:
            before = sum(result.records for result in results)
            results.append(await verify_chain(task, partial(_add, progress, before, total)))
        return results
    return await asyncio.to_thread(_run_apart, tasks, min(processes, len(tasks)), progress, total)


def _add(progress: Progress, before: int, total: int, count: int) -> None:
    progress(before + count, total)


def _length(task: Task) -> int:
    return 0 if task.head is None else task.head.next_seq


def _run_apart(tasks: Sequence[Task], processes: int, progress: Progress, total: int) -> list[ChainResult]:
    """The same in processes of their own; the longest chains are begun first. Blocks."""
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", 0)
    with ProcessPoolExecutor(processes, context, _begin_process, (counter,)) as pool:
        order = sorted(range(len(tasks)), key=lambda at: -_length(tasks[at]))
        futures = {at: pool.submit(_verify_apart, tasks[at]) for at in order}
        try:
            while wait(futures.values(), timeout=0.2, return_when=FIRST_EXCEPTION).not_done:
                progress(counter.value, total)
                if any(future.done() and future.exception() is not None for future in futures.values()):
                    break
            return [futures[at].result() for at in range(len(tasks))]
        except BrokenProcessPool as error:
            raise TransientError(f"a process of the verification was ended from outside: {error}") from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_counters: list[Any] = []
"""In a process of its own: the one number that all of them add to."""


def _begin_process(counter: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it at once and without a traceback
    _counters.append(counter)


def _verify_apart(task: Task) -> ChainResult:
    (counter,) = _counters
    counted = 0

    def add(count: int) -> None:
        nonlocal counted
        with counter.get_lock():
            counter.value += count - counted
        counted = count

    return asyncio.run(verify_chain(task, add))


async def verify_chain(task: Task, progress: Callable[[int], None]) -> ChainResult:
    """Streams one chain through its verifier, a range at a time; the next one is fetched meanwhile."""
    verifier = ChainVerifier(task.chain, task.head)
    async with open_snapshot(task.dsn, task.snapshot) as snapshot:
        await snapshot.connection.set_type_codec(
            "timestamptz", schema="pg_catalog", format="tuple", encoder=_as_tuple, decoder=_as_microseconds
        )
        fetching = asyncio.create_task(_next_range(snapshot, task, _SMALLEST_SEQ))
        try:
            while (found := await fetching) is not None:
                fetching = asyncio.create_task(_next_range(snapshot, task, found.last + 1))
                await asyncio.sleep(0)  # lets the question go out before the work begins
                verifier.feed(found.records, found.payloads)
                progress(verifier.result.records)
        finally:
            fetching.cancel()
    return verifier.finish()


class _Range(NamedTuple):
    last: int
    records: list[Any]
    payloads: list[Any] | None


async def _next_range(snapshot: Snapshot, task: Task, start: int) -> _Range | None:
    if start > _LARGEST_SEQ:
        return None
    number = task.chain.chain_no
    if task.contents:
        ends = await snapshot.fetch("next_range", number, start, RANGE_RECORDS, RANGE_BYTES)
    else:
        ends = await snapshot.fetch("next_records", number, start, RANGE_RECORDS)
    if not ends:
        return None
    first, last = ends[0]
    records = await snapshot.fetch("records", number, first, last)
    payloads = await snapshot.fetch("payloads", number, first, last) if task.contents else None
    return _Range(last, records, payloads)


def _as_tuple(microseconds: int) -> tuple[int]:
    return (microseconds - _POSTGRES_EPOCH_US,)


def _as_microseconds(said: tuple[int]) -> int:
    """PostgreSQL counts from the year 2000."""
    return said[0] + _POSTGRES_EPOCH_US
