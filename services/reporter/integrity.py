"""What a verification proves and what not, in sentences that are fixed: no report says it in other words."""

from __future__ import annotations

from schemas.verification.findings import Change
from services.reporter.verify import Verification

CONSISTENT = (
    "Records are consistent with each other. Someone who can rewrite the whole database could hide a change."
)
"""All that chains alone prove. Checkpoints kept elsewhere will prove more."""
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
        return [CONSISTENT if verification.records else NOTHING, LIMITS]
    changes = {finding.change for finding in verification.findings}
    if changes == {Change.NOT_ARRIVED}:
        return [WAITING, LIMITS]
    return [LOST if changes <= {Change.EXPIRED, Change.NOT_ARRIVED} else NOT_CONSISTENT, LIMITS]


def verdict(verification: Verification) -> str:
    """One line: what was verified and how it came out."""
    records = counted(verification.records, "record")
    chains = counted(len(verification.chains), "chain")
    scope = " (these chains only)" if verification.partial else ""
    what = "" if verification.with_contents else ", payloads not looked at"
    if verification.good:
        return f"OK: {records} in {chains} verified{scope}{what}"
    changed = {finding.chain_no for finding in verification.findings}
    found = counted(verification.found, "finding")
    return f"NOT OK: {found} in {counted(len(changed), 'chain')}; {records} in {chains} read{scope}{what}"


def counted(number: int, word: str) -> str:
    """`1,234 records`, `1 record`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"
