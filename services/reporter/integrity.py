"""What a verification proves and what not, in sentences that are fixed: no report says it in other words."""

from __future__ import annotations

from schemas.verification.findings import Change, utc
from services.reporter.evidence import Evidence
from services.reporter.sealed import Sealing
from services.reporter.verify import Verification

CONSISTENT = (
    "Records are consistent with each other. Someone who can rewrite the whole database could hide a change."
)
"""All that chains alone prove."""
OWN_CHECKPOINTS = (
    "Changes by database administrators would be found; changes by whoever holds the signing key and all copies of the "
    "checkpoints might not."
)
"""Against checkpoints of the sealer's own key."""
LIMITS = "It says nothing about events that were never sent, nor whether their content is true."
NOT_CONSISTENT = (
    "Records are not as they were written. What was found is listed below; do not rely on what it concerns."
)
LOST = "Records are consistent with each other, but events were lost before they were read: see below."
WAITING = "Records are consistent with each other, but events are missing that have not arrived: see below."
NOTHING = "There are no records to verify."


def assurance(verification: Verification) -> list[str]:
    """The fixed sentences for a verification."""
    if verification.good:
        return [*_proved(verification), LIMITS]
    changes = {finding.change for finding in verification.findings}
    if changes == {Change.NOT_ARRIVED}:
        return [WAITING, LIMITS]
    return [LOST if changes <= {Change.EXPIRED, Change.NOT_ARRIVED} else NOT_CONSISTENT, LIMITS]


def _proved(verification: Verification) -> list[str]:
    sealing, evidence = verification.sealing, verification.evidence
    if sealing is None or sealing.last_seal_us is None:
        return [CONSISTENT if verification.records + verification.passed_over else NOTHING]
    holders = _holders(sealing, evidence, verification.taken_us)
    if not holders:
        return [OWN_CHECKPOINTS]
    return [
        f"Changes to records sealed up to {utc(until)} would be found against copies held by {', '.join(names)}."
        for until, names in sorted(holders.items(), reverse=True)
    ]


def _holders(sealing: Sealing, evidence: Evidence, now_us: int) -> dict[int, list[str]]:
    """Who else has copies, by the time up to which each covers what was sealed: of each holder the newest copy."""
    times, newest = sealing.history.times, dict[str, int]()
    witnessed = evidence.witnessed
    if witnessed is not None and witnessed.size in times:
        newest = dict.fromkeys(witnessed.by, times[witnessed.size])
    for anchor in evidence.anchors:
        sealed_us = times.get(anchor.size)
        if anchor.held is None or sealed_us is None or not anchor.held.counts(sealed_us, now_us):
            continue
        newest[anchor.held.by] = max(sealed_us, newest.get(anchor.held.by, sealed_us))
    holders: dict[int, list[str]] = {}
    for name, until in newest.items():
        holders.setdefault(until, []).append(name)
    return holders


def tail(verification: Verification) -> str | None:
    """How much no checkpoint covers, in one line; None where there is no checkpoint."""
    sealing = verification.sealing
    if sealing is None or sealing.tail_records is None:
        return None
    if sealing.last_seal_us is None:
        return f"Nothing is sealed yet: {counted(sealing.tail_records, 'record')} could be changed unseen."
    age = max(verification.taken_us - sealing.last_seal_us, 0) / 1_000_000
    last = f"The last seal ({sealing.history.size - 1}) is {age:,.0f} s old"
    if not sealing.tail_records:
        return f"{last} and covers every record."
    return f"{last}; {counted(sealing.tail_records, 'record')} behind it could be changed unseen."


def verdict(verification: Verification) -> str:
    """One line: what was verified and how it came out."""
    records = counted(verification.records, "record")
    chains = counted(len(verification.chains), "chain")
    scope = " (these chains only)" if verification.partial else ""
    what = "" if verification.with_contents else ", payloads not looked at"
    if verification.passed_over:
        what += (
            f", {counted(verification.passed_over, 'record')} before a trusted checkpoint not looked at again"
        )
    if verification.good:
        return f"OK: {records} in {chains} verified{scope}{what}"
    changed = {finding.chain_no for finding in verification.findings}
    found = counted(verification.found, "finding")
    return f"NOT OK: {found} in {counted(len(changed), 'chain')}; {records} in {chains} read{scope}{what}"


def counted(number: int, word: str) -> str:
    """`1,234 records`, `1 record`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"
