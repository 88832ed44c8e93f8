"""What was signed against what is there: the seals, and each chain's tree at every size that was sealed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.tlog.merkle import Frontier, leaf_hashes
from schemas.verification.findings import Change, Finding, Part, utc
from schemas.verification.links import ChainInfo, Head
from schemas.verification.result import MOST_FINDINGS, ChainResult
from schemas.verification.rewritten import explain_rewritten, unexplained
from schemas.verification.seals import Anchor, History, Sealed, read_history
from services.reporter.evidence import Evidence
from services.reporter.published import PublishedLog
from services.reporter.store import Snapshot
from services.reporter.sweeping import leaves_of

MOST_COMPARED = 1_000_000
"""Records of one chain that are compared one by one with those that were published; of more, only the window is told."""
LATE_US = 15 * 60 * 1_000_000
"""A record that is older and not sealed says that sealing has stopped."""


@dataclass(slots=True)
class Sealing:
    """The trusted history, and how far the database's own seals go. `tail`: records that no seal covers, and how old the
    last seal is, in microseconds, both None without a history."""

    history: History
    anchors: list[Anchor]
    own_seals: int
    findings: list[Finding] = field(default_factory=list)
    tail_records: int | None = None
    last_seal_us: int | None = None

    def sizes(self, chain_id: bytes, most: int) -> tuple[int, ...]:
        """The sizes at which a chain was sealed, up to `most`."""
        sealed = self.history.chains.get(chain_id, [])
        return tuple(item.size for item in sealed if 0 < item.size <= most)


class Compared(NamedTuple):
    """One chain against what was signed of it."""

    last_good: Sealed | None
    first_bad: Sealed | None


async def read_sealing(snapshot: Snapshot, evidence: Evidence, sizes: Collection[int] = ()) -> Sealing:
    """The history that the checkpoints sign: from a published log, else from the database. Findings where checkpoints
    contradict each other, or the database has other seals. Roots and times are kept at `sizes` too."""
    anchors = evidence.anchors
    rows = {row["seal_no"]: row["leaf"] async for row in snapshot.stream("seals")}
    own = [leaf for at, (number, leaf) in enumerate(rows.items()) if number == at]
    size = max(anchor.size for anchor in anchors)
    candidates = [("the database", own)]
    candidates += [(log.place, log.entries("seal", 0, size, size)) for log in evidence.logs]
    histories = [(place, leaves, _history(leaves, anchors, sizes)) for place, leaves in candidates]
    place, leaves, best = max(
        histories,
        key=lambda item: (sum(map(item[2].agrees, anchors)), item[2].size, item[0] != "the database"),
    )
    sealing = Sealing(best, anchors, 1 + max(rows, default=-1))
    for anchor in anchors:
        if not best.agrees(anchor):
            sealing.findings.append(_contradicted(anchor, best, place))
    sealing.findings += [_seal_finding(Change.FORKED, fault) for fault in best.faults]
    if place != "the database" and not sealing.findings:
        sealing.findings += _compare_own(rows, leaves)
    return sealing


def _history(leaves: Sequence[bytes], anchors: Sequence[Anchor], sizes: Collection[int]) -> History:
    try:
        return read_history(leaves, anchors, sizes)
    except ValueError as error:
        history = History()
        history.faults.append(f"a seal cannot be read: {error}")
        return history


def _contradicted(anchor: Anchor, history: History, place: str) -> Finding:
    if history.size < anchor.size:
        text = (
            f"the checkpoint of {anchor.place} covers {anchor.size} seals, and no copy of the log has them all ({place} has "
            f"{history.size}): the log was cut off, or the database set back"
        )
        return _seal_finding(Change.ROLLED_BACK, text)
    text = (
        f"the checkpoint of {anchor.place} ({anchor.size} seals) is signed, and not one of the history that {place} holds: "
        "two histories were signed with the same key"
    )
    return _seal_finding(Change.FORKED, text)


def _compare_own(own: Mapping[int, bytes], trusted: Sequence[bytes]) -> list[Finding]:
    """The database's own copy of the seals. That it ends earlier is no finding: it gets them last, and may have been
    restored; a gap in it, or another seal, is."""
    findings = []
    gone = [number for number in range(min(len(trusted), max(own, default=-1))) if number not in own]
    changed = [number for number, leaf in enumerate(trusted) if own.get(number, leaf) != leaf]
    if gone:
        text = f"the database's copy of seal {gone[0]} is gone ({len(gone)} in all)"
        findings.append(_seal_finding(Change.DELETED, text))
    if changed:
        text = (
            f"the database's copy of seal {changed[0]} is not the one that was signed ({len(changed)} in all)"
        )
        findings.append(_seal_finding(Change.EDITED, text))
    return findings


def compare_roots(sealed: Sequence[Sealed], roots: Mapping[int, bytes]) -> Compared:
    """The last seal of a chain whose root the records still give, and the first whose root they do not."""
    good, bad = None, None
    for item in sealed:
        if item.size == 0 or roots.get(item.size) == item.root:
            good = item if bad is None else good
        elif bad is None:
            bad = item
    return Compared(good, bad)


async def explain_chain(
    snapshot: Snapshot, info: ChainInfo, compared: Compared, sealing: Sealing, evidence: Evidence
) -> list[Finding]:
    """What was changed in a chain that is not what was signed."""
    assert compared.first_bad is not None
    sealed = sealing.history.chains[info.chain_id]
    last = sealed[-1]
    found = (
        [leaf async for leaves in leaves_of(snapshot, info.chain_no) for leaf in leaves]
        if (last.size <= MOST_COMPARED)
        else []
    )
    signed = _signed_leaves(evidence.logs, info.chain_id, last) if last.size <= MOST_COMPARED else []
    if not signed:
        short = len(found) < compared.first_bad.size and last.size <= MOST_COMPARED
        return [unexplained(info.chain_no, compared.last_good, compared.first_bad, short=short)]
    first = next((at for at, leaf in enumerate(signed) if at >= len(found) or found[at] != leaf), len(signed))
    return explain_rewritten(
        info.chain_no,
        signed[first:],
        found[first:],
        first,
        compared.first_bad,
    )


def _signed_leaves(logs: Sequence[PublishedLog], chain_id: bytes, last: Sealed) -> list[bytes]:
    """The leaves of a chain as they were published, if they give the signed root."""
    for log in logs:
        path = next(
            (
                chain.get("path")
                for chain in log.description().get("chains", [])
                if chain.get("chain_id") == chain_id.hex()
            ),
            None,
        )
        if not isinstance(path, str):
            continue
        leaves = log.entries(path, 0, last.size, last.size)
        tree = Frontier()
        tree.extend(leaf_hashes(leaves))
        if tree.size == last.size and tree.root() == last.root:
            return leaves
    return []


def missing_chains(sealing: Sealing, known: Sequence[ChainInfo]) -> list[tuple[Finding, Compared]]:
    """Chains that were sealed and are not there, and the first seal that has each."""
    there = {info.chain_id for info in known}
    return [
        (_chain_gone(chain_id, sealed[-1]), Compared(None, sealed[0]))
        for chain_id, sealed in sealing.history.chains.items()
        if chain_id not in there
    ]


def _chain_gone(chain_id: bytes, last: Sealed) -> Finding:
    text = f"chain {chain_id.hex()} was sealed with {last.size} records, and is not in the database"
    return Finding(0, Change.CHAIN_GONE, Part.CHAIN, text, 0, max(last.size - 1, 0), until_us=last.time_us)


def rolled_back(sealing: Sealing, bad: Sequence[Compared]) -> Finding | None:
    """Where the database's own seals end before the first that each changed chain contradicts, the database as a whole is
    of that time."""
    if not bad or any(
        compared.first_bad is None or sealing.own_seals > compared.first_bad.seal_no for compared in bad
    ):
        return None
    text = (
        f"the database ends with seal {sealing.own_seals - 1}, {sealing.history.size} were signed: it was set back to an older "
        f"state (a backup, or a point in time). Signed up to {utc(sealing.history.last_us)}"
    )
    return _seal_finding(Change.ROLLED_BACK, text)


async def note_tail(
    snapshot: Snapshot,
    sealing: Sealing,
    known: Sequence[tuple[ChainInfo, Head | None]],
    taken_us: int,
    *,
    live: bool,
) -> None:
    """Counts what no seal covers; a finding where it has waited too long."""
    tail, oldest = 0, None
    for info, head in known:
        sealed = sealing.history.chains.get(info.chain_id)
        size = sealed[-1].size if sealed else 0
        if head is None or head.next_seq <= size:
            continue
        tail += head.next_seq - size
        since = await snapshot.fetch("appended", info.chain_no, size)
        moment = since[0]["appended_us"] if since else None
        oldest = moment if oldest is None else min(oldest, moment or oldest)
    sealing.tail_records = tail
    sealing.last_seal_us = sealing.history.last_us or None
    if live and oldest is not None and taken_us - oldest > LATE_US:
        text = (
            f"{tail} records are not sealed, the oldest since {utc(oldest)}: sealing has stopped, and changes to them would "
            "not be seen"
        )
        sealing.findings.append(_seal_finding(Change.LATE, text))


def add_explained(result: ChainResult, explained: Sequence[Finding]) -> None:
    """Puts what the signed records tell in front of what the chain alone shows. Only what is said twice is left out:
    nothing that was found is taken back."""
    told = {(item.change, item.part, item.seq) for item in explained}
    kept = [item for item in result.findings if (item.change, item.part, item.seq) not in told]
    result.found += len(explained) - (len(result.findings) - len(kept))
    result.findings[:] = [*explained, *kept][:MOST_FINDINGS]


def _seal_finding(change: Change, text: str) -> Finding:
    return Finding(0, change, Part.SEAL, text)
