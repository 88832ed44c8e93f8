"""Runs a drill: each class of tampering once or more on the shadow copy, and whether and how soon it was found."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from schemas.record import Kind
from schemas.verification.findings import Change, Finding
from schemas.verification.links import ChainInfo, Head
from services.common.errors import ConfigurationError
from services.reporter.drill.attacks import ATTACKS, Pair, attack, relink
from services.reporter.drill.shadow import Shadow, read_pairs, set_times
from services.reporter.evidence import Evidence
from services.reporter.sealed import read_sealing
from services.reporter.store import Snapshot, open_snapshot
from services.reporter.verify import Verification, verify_database

CHAIN_GONE = "whole chain gone"
_COPIED = ("seal", "erasure", "retention")
_Chain = tuple[ChainInfo, Head, list[Pair]]
_FEWEST_EVENTS = 8


class Outcome(NamedTuple):
    """One attack: whether it was found at all, under the right name, at the right record; and after how many seconds."""

    attack: str
    found: bool
    named: bool
    placed: bool
    seconds: float

    @property
    def passed(self) -> bool:
        return self.found and self.named and self.placed


@dataclass(frozen=True)
class Drilled:
    """A drill. `clean`: the shadow copy verified before it was attacked; without that nothing else counts."""

    clean: bool
    chain: ChainInfo
    records: int
    outcomes: list[Outcome] = field(default_factory=list)
    detail: str = ""

    @property
    def passed(self) -> bool:
        return self.clean and bool(self.outcomes) and all(outcome.passed for outcome in self.outcomes)

    @property
    def detected(self) -> int:
        return sum(outcome.passed for outcome in self.outcomes)

    @property
    def slowest_seconds(self) -> float:
        return max((outcome.seconds for outcome in self.outcomes), default=0.0)


async def run_drill(
    dsn: str,
    shadow: Shadow,
    evidence: Evidence,
    *,
    seed: int,
    times: int = 1,
    most_records: int = 20_000,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Drilled:
    """Copies the longest sealed chain of events of at most `most_records` from `dsn` into the empty, migrated database of
    `shadow`, and attacks it there. Raises ConfigurationError where nothing is sealed that could be attacked."""
    if not evidence.anchors:
        raise ConfigurationError(
            "a drill needs checkpoints to find attacks by: name a place with --checkpoints"
        )
    copy = await _read_copy(dsn, evidence, most_records)
    info, head, pairs = copy.chains[0]
    await shadow.make(copy.chains, copy.tables)
    before = await _verify(shadow, evidence, info)
    if not before.good:
        detail = "; ".join(finding.sentence() for finding in before.findings[:3])
        return Drilled(False, info, len(pairs), detail=detail)
    random, outcomes = Random(seed), []  # noqa: S311 - chooses places, no secrets
    total = times * (len(ATTACKS) + 1)
    for name in ATTACKS:
        for _ in range(times):
            outcomes.append(await _attack(shadow, evidence, info, head, pairs, name, random))
            progress(len(outcomes), total)
    outcomes.append(await _remove(shadow, evidence, info))
    progress(total, total)
    return Drilled(True, info, len(pairs), outcomes)


class _Copy(NamedTuple):
    """What goes into the shadow: the chain to be attacked first, then those that say what was lawfully erased."""

    chains: list[_Chain]
    tables: dict[str, list[Any]]


async def _read_copy(dsn: str, evidence: Evidence, most: int) -> _Copy:
    async with open_snapshot(dsn) as snapshot:
        await set_times(snapshot.connection)
        sealing = await read_sealing(snapshot, evidence)
        victim, system = None, []
        for info, head in await _known(snapshot):
            sealed = max(sealing.sizes(info.chain_id, head.next_seq), default=0)
            if info.topic.endswith(".system"):
                system.append((info, head, await read_pairs(snapshot, info.chain_no, head.next_seq)))
            elif victim is None and info.topic.endswith(".events") and 0 < sealed <= most:
                pairs = await read_pairs(snapshot, info.chain_no, sealed)
                if (
                    sum(row.kind == Kind.EVENT and content is not None for row, content in pairs)
                    >= _FEWEST_EVENTS
                ):
                    victim = (info, relink(pairs, head._replace(closed=False))[2], pairs)
        if victim is None:
            raise ConfigurationError(
                f"no chain of events has at least {_FEWEST_EVENTS} sealed events with their payloads, and at most {most} "
                "sealed records (--most-records)"
            )
        tables = {name: [tuple(row) for row in await snapshot.fetch(f"shadow_{name}")] for name in _COPIED}
        return _Copy([victim, *system], tables)


async def _known(snapshot: Snapshot) -> list[tuple[ChainInfo, Head]]:
    """Chains with a head, the longest first; each as if none had come before it."""
    known = [
        (
            ChainInfo(*(row[name] for name in ChainInfo._fields))._replace(previous=None),
            Head(*(row[name] for name in Head._fields)),
        )
        for row in await snapshot.fetch("chains")
        if row["next_seq"] is not None
    ]
    return sorted(known, key=lambda pair: -pair[1].next_seq)


async def _verify(shadow: Shadow, evidence: Evidence, info: ChainInfo) -> Verification:
    return await verify_database(shadow.dsn, chains=[info.chain_no], evidence=evidence, processes=1)


async def _attack(
    shadow: Shadow,
    evidence: Evidence,
    info: ChainInfo,
    head: Head,
    pairs: Sequence[Pair],
    name: str,
    random: Random,
) -> Outcome:
    made = attack(name, pairs, head, random)
    await shadow.put(info.chain_no, made)
    started = time.monotonic()
    verification = await _verify(shadow, evidence, info)
    seconds = time.monotonic() - started
    named = [item for item in verification.findings if _is_named(item, made.change, made.fields)]
    placed = any(_covers(item, made.seq) for item in named)
    rows, contents, after = relink(pairs, head)
    await shadow.put(info.chain_no, made._replace(rows=rows, contents=contents, head=after))
    return Outcome(name, not verification.good, bool(named), placed, seconds)


async def _remove(shadow: Shadow, evidence: Evidence, info: ChainInfo) -> Outcome:
    await shadow.remove(info.chain_no)
    started = time.monotonic()
    verification = await verify_database(shadow.dsn, evidence=evidence, processes=1)
    seconds = time.monotonic() - started
    named = [item for item in verification.findings if item.change is Change.CHAIN_GONE]
    placed = any(info.chain_id.hex() in item.detail for item in named)
    return Outcome(CHAIN_GONE, not verification.good, bool(named), placed, seconds)


def _is_named(finding: Finding, change: Change, fields: tuple[str, ...]) -> bool:
    return finding.change is change and (not fields or finding.fields == fields)


def _covers(finding: Finding, seq: int) -> bool:
    last = finding.seq if finding.last_seq is None else finding.last_seq
    return finding.seq is not None and last is not None and finding.seq <= seq <= last
