"""What a verification proves and what not, in sentences that are fixed: no report says it in other words."""

from __future__ import annotations

from schemas.verification.findings import Change, utc
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
    witnessed = evidence.witnessed
    if witnessed is None or witnessed.size not in sealing.history.times:
        return [OWN_CHECKPOINTS]
    until, holders = utc(sealing.history.times[witnessed.size]), ", ".join(witnessed.by)
    return [f"Changes to records sealed up to {until} would be found against copies held by {holders}."]


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
