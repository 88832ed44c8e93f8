"""When a change was made: not before its records were last known to be as they were, not after they were read. Pure, no I/O.

Three sources, in the order of their worth: the first seal that covers a record (the sealer made it from the record as it
then stood), the last time anchor before a record (it is younger than the checkpoint in there), the writer's append time.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from schemas.verification.findings import Change, Finding, Part
from schemas.verification.seals import Sealed

_DONE = frozenset(
    (
        Change.EDITED,
        Change.DELETED,
        Change.INSERTED,
        Change.REORDERED,
        Change.TRUNCATED,
        Change.MISSING,
        Change.FORKED,
        Change.CHAIN_GONE,
        Change.BROKEN_SUCCESSION,
        Change.ROLLED_BACK,
    )
)
"""Changes that somebody made; the others are faults that were there when the record was."""


class AnchoredAt(NamedTuple):
    """A time anchor that is good: its sequence number, and when the seal in it was made."""

    seq: int
    time_us: int


@dataclass(frozen=True, slots=True)
class Times:
    """What is known of one chain, each in its order: how far it was sealed when, and its time anchors."""

    sealed: Sequence[Sealed] = ()
    anchors: Sequence[AnchoredAt] = field(default_factory=tuple)

    def sealed_us(self, seq: int) -> int | None:
        """When a record was first sealed."""
        at = bisect_right(self.sealed, seq, key=lambda item: item.size)
        return self.sealed[at].time_us if at < len(self.sealed) else None

    def younger_than_us(self, seq: int) -> int | None:
        """When the seal in the last time anchor before a record was made."""
        at = bisect_left(self.anchors, seq, key=lambda item: item.seq)
        return self.anchors[at - 1].time_us if at else None


NO_TIMES = Times()


def with_window(finding: Finding, times: Times, read_us: int) -> Finding:
    """The finding with its window; `read_us` is when the records were read."""
    if finding.change not in _DONE:
        return finding
    return replace(finding, not_before_us=_not_before(finding, times), not_after_us=read_us)


def _not_before(finding: Finding, times: Times) -> int | None:
    if finding.seq is None:
        return None
    last = finding.seq if finding.last_seq is None else finding.last_seq
    if finding.part in (Part.RECORD, Part.CHAIN):
        sealed_us = times.sealed_us(last)
        if sealed_us is not None:
            return sealed_us
        return times.younger_than_us(finding.seq)  # its own append time may be a part of the change
    known = [item for item in (finding.appended_us, times.younger_than_us(finding.seq)) if item is not None]
    return max(known, default=None)
