"""What a verification says of one chain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

from schemas.own_bodies import Close, Genesis
from schemas.verification.findings import Finding
from schemas.verification.links import ChainInfo

MOST_FINDINGS = 1000
"""Findings kept for one chain; beyond that they are only counted."""


@dataclass(slots=True)
class ChainResult:
    """Counts are of records that were read, by kind. `first_offset` to `next_offset` (exclusive) are the source
    offsets that they cover; `erased` and `retained` count
    payloads that are gone as an order says; times in microseconds since 1970 UTC; `found` counts findings, kept or not."""

    chain: ChainInfo
    with_contents: bool = False
    kinds: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    first_offset: int | None = None
    next_offset: int | None = None
    skipped_offsets: int = 0
    expired_offsets: int = 0
    erased: int = 0
    retained: int = 0
    first_appended_us: int | None = None
    last_appended_us: int | None = None
    next_seq: int = 0
    last_hash: bytes | None = None
    genesis: Genesis | None = None
    close: Close | None = None
    found: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def records(self) -> int:
        return sum(self.kinds.values())

    @property
    def good(self) -> bool:
        return self.found == 0

    def add(self, finding: Finding) -> None:
        """Counts a finding, and keeps it unless there are too many."""
        self.found += 1
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(finding)

    def withdraw_contents(self, numbers: Collection[int | None]) -> None:
        """Takes back what was said of records one by one, now that these turn out to be changed themselves."""
        kept = [
            finding for finding in self.findings if finding.seq not in numbers or finding.last_seq is not None
        ]
        self.found -= len(self.findings) - len(kept)
        self.findings = kept
