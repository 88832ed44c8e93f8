"""What a verification says is damaged and bytes can mend: pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from schemas.verification.findings import Change, Finding, Part

What = Literal["leaf", "payload"]
MOST_RECORDS = 100_000
"""Records of one finding that are looked for: a cut chain may lack millions."""
_MENDABLE: dict[What, frozenset[tuple[Change, Part]]] = {
    "leaf": frozenset(
        {
            (Change.EDITED, Part.RECORD),
            (Change.EDITED, Part.COLUMN),
            (Change.DELETED, Part.RECORD),
            (Change.TRUNCATED, Part.RECORD),
        }
    ),
    "payload": frozenset(
        {
            (Change.EDITED, Part.PAYLOAD),
            (Change.MISSING, Part.PAYLOAD),
            (Change.EDITED, Part.ENRICHMENT),
            (Change.MISSING, Part.ENRICHMENT),
            (Change.EDITED, Part.COLUMN),
        }
    ),
}


class Damaged(NamedTuple):
    """A record (chain, seq) and what of it is wanted back."""

    chain_no: int
    seq: int
    what: What


def damaged(findings: Iterable[Finding]) -> list[Damaged]:
    """What could be put back, in order. Where a record is gone its payload is wanted too, in case it is gone with it."""
    wanted: set[Damaged] = set()
    for finding in findings:
        if finding.seq is None:
            continue
        last = finding.seq if finding.last_seq is None else finding.last_seq
        numbers = range(finding.seq, min(last, finding.seq + MOST_RECORDS) + 1)
        key = (finding.change, finding.part)
        for what, mendable in _MENDABLE.items():
            if key in mendable and _concerns(finding, what):
                wanted |= {Damaged(finding.chain_no, seq, what) for seq in numbers}
        if finding.part is Part.RECORD and finding.change in (Change.DELETED, Change.TRUNCATED):
            wanted |= {Damaged(finding.chain_no, seq, "payload") for seq in numbers}
    return sorted(wanted)


def _concerns(finding: Finding, what: What) -> bool:
    """A column stands beside the leaf or beside the payload."""
    if finding.part is not Part.COLUMN:
        return True
    of_payload = any(field.startswith("payload.") for field in finding.fields)
    return of_payload == (what == "payload")
