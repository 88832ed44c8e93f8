"""Verifies the chains of a database, several ranges at once in processes of their own, all in one snapshot.

The database is only asked for rows; what they are worth is computed here, by `schemas.verification`. With checkpoints
from elsewhere also what no chain can show alone: that all of it is what was signed.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from schemas.verification.ends import compare_head, compare_succession
from schemas.verification.erasures import (
    NOTHING_GONE,
    Coverage,
    ErasureRow,
    Orders,
    RetentionRow,
    compare_retentions,
)
from schemas.verification.findings import Change, Finding, Part
from schemas.verification.links import ChainInfo, Head
from schemas.verification.result import ChainResult
from schemas.verification.sweep import RANGE, Swept, join
from schemas.verification.windows import NO_TIMES, Times, with_window
from services.common.errors import ConfigurationError
from services.reporter.apart import Progress, go_apart, run_apart, run_here, sweep_apart
from services.reporter.evidence import Evidence
from services.reporter.holes import find_holes
from services.reporter.sealed import (
    Sealing,
    add_explained,
    compare_roots,
    explain_chain,
    missing_chains,
    note_tail,
    read_sealing,
    rolled_back,
)
from services.reporter.store import Snapshot, open_snapshot
from services.reporter.sweeping import Gone, RangeTask, Task, collect_orders, go_through, sweep_range
from services.reporter.time_anchors import TimeMark, find_time_anchors, judge_time_anchors

_FEW_RECORDS = 20_000
"""Up to so many are verified in this process: starting others takes longer."""
NO_EVIDENCE = Evidence()


@dataclass(frozen=True)
class Verification:
    """What was verified. `chains` are those that were read, `partial` tells that others were left out; `taken_us` is
    when the snapshot was taken (microseconds since 1970 UTC), `seconds` how long it took. `passed_over`: records before
    a trusted checkpoint that were not looked at again."""

    chains: list[ChainResult]
    others: list[Finding] = field(default_factory=list)
    """Findings about more than one chain."""
    partial: bool = False
    with_contents: bool = True
    taken_us: int = 0
    seconds: float = 0.0
    evidence: Evidence = NO_EVIDENCE
    sealing: Sealing | None = None
    passed_over: int = 0

    @property
    def records(self) -> int:
        return sum(result.records for result in self.chains)

    @property
    def erased(self) -> int:
        """Payloads that are gone as an erasure record says."""
        return sum(result.erased for result in self.chains)

    @property
    def retained(self) -> int:
        """Payloads that are gone as a retention record says."""
        return sum(result.retained for result in self.chains)

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


class Plan(NamedTuple):
    """One chain to verify: at which sizes it was sealed, and where to begin."""

    info: ChainInfo
    head: Head | None
    sizes: tuple[int, ...] = ()
    start: int = 0
    before: tuple[bytes, ...] = ()
    coverage: Coverage = NOTHING_GONE
    """Hashes of the full ranges before `start`, which are passed over. `coverage`: which payloads are lawfully gone."""

    @property
    def length(self) -> int:
        return 0 if self.head is None else max(self.head.next_seq - self.start, 0)


class Verified(NamedTuple):
    """One chain, and its tree's roots at the sizes at which it was sealed."""

    result: ChainResult
    roots: dict[int, bytes]


async def verify_database(
    dsn: str,
    *,
    chains: Collection[int] | None = None,
    contents: bool = True,
    processes: int | None = None,
    evidence: Evidence = NO_EVIDENCE,
    since: int = 0,
    progress: Progress = lambda _done, _total: None,
) -> Verification:
    """Verifies all chains of the database at `dsn`, or those with the numbers `chains`; without `contents` the
    records alone, no payloads. With `evidence` against checkpoints (read before the snapshot is taken: what they cover is
    there), with `since` only what the first so many seals do not cover. Raises TransientError or ConfigurationError where
    it cannot."""
    async with open_snapshot(dsn) as snapshot:
        return await verify_snapshot(
            dsn,
            snapshot,
            chains=chains,
            contents=contents,
            processes=processes,
            evidence=evidence,
            since=since,
            progress=progress,
        )


async def verify_snapshot(
    dsn: str,
    snapshot: Snapshot,
    *,
    chains: Collection[int] | None = None,
    contents: bool = True,
    processes: int | None = None,
    evidence: Evidence = NO_EVIDENCE,
    since: int = 0,
    progress: Progress = lambda _done, _total: None,
) -> Verification:
    """`verify_database` in a snapshot that is open already, so that what is read from it is what was verified."""
    start, taken_us = time.monotonic(), time.time_ns() // 1000
    known = [_read_chain(row) for row in await snapshot.fetch("chains")]
    unknown = {row["chain_no"] for row in await snapshot.fetch("chain_numbers")} - {
        info.chain_no for info, _ in known
    }
    _refuse_unknown(chains, known, unknown)
    marks = await find_time_anchors(snapshot, evidence.policy) if evidence.anchors else []
    sizes = {mark.checkpoint.size for mark in marks}
    sealing = await read_sealing(snapshot, evidence, sizes) if evidence.anchors else None
    orders = await _read_orders(dsn, snapshot, known) if contents else Orders()
    plans = [
        (await _plan(snapshot, info, head, sealing, since))._replace(coverage=orders.coverage(info))
        for info, head in known
        if chains is None or info.chain_no in chains
    ]
    verified = await _run(dsn, snapshot, plans, contents, processes or os.cpu_count() or 1, progress)
    results = [item.result for item in verified]
    others = [] if chains is not None else compare_succession(results)
    others += await find_holes(snapshot, [(plan.info, plan.head) for plan in plans])
    others += [_without_chain(number) for number in sorted(unknown) if chains is None or number in chains]
    if contents:
        others += await _compare_indexes(snapshot, orders)
    if sealing is not None:
        others += await _compare(snapshot, plans, verified, sealing, evidence, partial=chains is not None)
        await note_tail(snapshot, sealing, known, taken_us, live=bool(evidence.logs))
        others += sealing.findings
    others = _timed(results, others, sealing, marks, taken_us)
    return Verification(
        results,
        others,
        chains is not None,
        contents,
        taken_us,
        time.monotonic() - start,
        evidence,
        sealing,
        sum(plan.start for plan in plans),
    )


def _timed(
    results: Sequence[ChainResult],
    others: Sequence[Finding],
    sealing: Sealing | None,
    marks: Sequence[TimeMark],
    taken_us: int,
) -> list[Finding]:
    """Gives each finding of a change the window in which it was made; returns those about more than one chain."""
    anchors, findings = ({}, []) if sealing is None else judge_time_anchors(marks, sealing.history)
    chains = {} if sealing is None else sealing.history.chains
    times = {
        result.chain.chain_no: Times(
            chains.get(result.chain.chain_id, ()), anchors.get(result.chain.chain_no, ())
        )
        for result in results
    }
    for result in results:
        own = times[result.chain.chain_no]
        result.findings[:] = [with_window(finding, own, taken_us) for finding in result.findings]
    return [
        with_window(finding, times.get(finding.chain_no, NO_TIMES), taken_us)
        for finding in [*others, *findings]
    ]


async def _read_orders(
    dsn: str, snapshot: Snapshot, known: Sequence[tuple[ChainInfo, Head | None]]
) -> Orders:
    """What the own events in all chains of audit.system order: read before anything is judged by it."""
    orders = Orders()
    for info, head in known:
        if info.topic.endswith(".system"):
            await collect_orders(Task(dsn, snapshot.name, info, head, contents=True), orders)
    return orders


async def _compare_indexes(snapshot: Snapshot, orders: Orders) -> list[Finding]:
    """The tables that index the orders, against the orders themselves."""
    erasures = [ErasureRow(*row) for row in await snapshot.fetch("erasures")]
    retentions = [RetentionRow(*row) for row in await snapshot.fetch("retentions")]
    return [*orders.compare_index(erasures), *compare_retentions(orders, retentions)]


async def read_coverages(dsn: str, snapshot: Snapshot) -> Callable[[ChainInfo], Coverage]:
    """What is lawfully gone from each chain, by the orders recorded in this database."""
    known = [_read_chain(row) for row in await snapshot.fetch("chains")]
    orders = await _read_orders(dsn, snapshot, known)
    return orders.coverage


def _read_chain(row: Any) -> tuple[ChainInfo, Head | None]:
    info = ChainInfo(*(row[name] for name in ChainInfo._fields))
    return info, None if row["next_seq"] is None else Head(*(row[name] for name in Head._fields))


def _refuse_unknown(
    chains: Collection[int] | None, known: Sequence[tuple[ChainInfo, Head | None]], unknown: set[int]
) -> None:
    missing = sorted(set(chains or ()) - {info.chain_no for info, _ in known} - unknown)
    if missing:
        raise ConfigurationError(f"there is no chain {', '.join(map(str, missing))}")


def _without_chain(chain_no: int) -> Finding:
    text = "rows stand under a chain number that audit.chain does not have: its row is gone"
    return Finding(chain_no, Change.DELETED, Part.CHAIN, text)


async def _plan(
    snapshot: Snapshot, info: ChainInfo, head: Head | None, sealing: Sealing | None, since: int
) -> Plan:
    """Full ranges that a trusted seal covers are passed over where their hashes are kept: the signed roots after them
    hold only if these are right."""
    if sealing is None or head is None:
        return Plan(info, head)
    sizes = sealing.sizes(info.chain_id, head.next_seq)
    trusted = [item.size for item in sealing.history.chains.get(info.chain_id, []) if item.seal_no < since]
    full = min(trusted[-1] if trusted else 0, sizes[-1] if sizes else 0) // RANGE
    rows = await snapshot.fetch("range_hashes", info.chain_no, full) if full else []
    if len(rows) < full or full * RANGE >= head.next_seq:
        return Plan(info, head, sizes)
    begin = full * RANGE
    return Plan(
        info, head, tuple(size for size in sizes if size > begin), begin, tuple(row["root"] for row in rows)
    )


async def _run(
    dsn: str, snapshot: Snapshot, plans: Sequence[Plan], contents: bool, processes: int, progress: Progress
) -> list[Verified]:
    """Sweeps all ranges; goes in order through the chains that are not clean. In the order of the plans."""
    total = sum(plan.length for plan in plans)
    alone = total <= _FEW_RECORDS or processes == 1
    ranges = [_ranges(dsn, snapshot.name, plan, contents) for plan in plans]
    tasks = [task for some in ranges for task in some]
    swept: list[Swept | None] = (
        await run_here(sweep_range, tasks, progress, total)
        if alone
        else await asyncio.to_thread(run_apart, sweep_apart, tasks, processes, progress, total)
    )
    parts, found = iter(swept), []
    for plan, some in zip(plans, ranges, strict=True):
        found.append(await _joined(snapshot, plan, [next(parts) for _ in some]))
    again = [
        Task(dsn, snapshot.name, plan.info, plan.head, contents, plan.sizes, plan.coverage)
        for plan, item in zip(plans, found, strict=True)
        if item is None
    ]
    gone = iter(
        await run_here(go_through, again, progress, total)
        if alone or len(again) == 1
        else await asyncio.to_thread(run_apart, go_apart, again, processes, progress, total)
    )
    progress(total, total)
    return [item or _verified(next(gone)) for item in found]


def _verified(gone: Gone) -> Verified:
    return Verified(gone.result, dict(gone.roots))


def _ranges(dsn: str, name: str, plan: Plan, contents: bool) -> list[RangeTask]:
    end = 0 if plan.head is None else plan.head.next_seq
    return [
        RangeTask(
            dsn,
            name,
            plan.info,
            start,
            min(start + RANGE, end),
            contents,
            tuple(size for size in plan.sizes if start < size <= start + RANGE),
            plan.coverage,
        )
        for start in range(plan.start, end, RANGE)
    ]


async def _joined(snapshot: Snapshot, plan: Plan, parts: Sequence[Swept | None]) -> Verified | None:
    """A chain from its ranges; None where it is not clean."""
    clean = [part for part in parts if part is not None]
    if plan.head is None or not clean or len(clean) != len(parts):
        return None
    joined = join(clean, plan.before)
    strays = (await snapshot.fetch("strays", plan.info.chain_no, plan.head.next_seq))[0]["strays"]
    if joined is None or strays:
        return None
    result, place, roots = joined
    compare_head(result, place, plan.head)
    if result.found or place.last_hash != plan.head.last_hash:
        return None
    result.next_seq, result.last_hash, result.next_offset = place.next_seq, place.last_hash, place.next_offset
    return Verified(result, dict(roots))


async def _compare(
    snapshot: Snapshot,
    plans: Sequence[Plan],
    verified: Sequence[Verified],
    sealing: Sealing,
    evidence: Evidence,
    *,
    partial: bool,
) -> list[Finding]:
    """Each chain against what was signed of it; what is wrong is added to its result."""
    bad = []
    for plan, item in zip(plans, verified, strict=True):
        sealed = [
            entry for entry in sealing.history.chains.get(plan.info.chain_id, []) if entry.size > plan.start
        ]
        compared = compare_roots(sealed, item.roots)
        if compared.first_bad is None:
            continue
        bad.append(compared)
        findings = await explain_chain(snapshot, plan.info, compared, sealing, evidence)
        add_explained(item.result, findings)
    gone = [] if partial else missing_chains(sealing, [plan.info for plan in plans])
    whole = rolled_back(sealing, [*bad, *(compared for _, compared in gone)])
    findings = [finding for finding, _ in gone]
    return findings if whole is None else [whole, *findings]
