"""The drop rule (design page 2.1): what becomes of a message, by three numbers of its source partition.

`expected` is the chain's next source offset, `prev` the source offset fetched before this one, `offset` its own.
"""

from __future__ import annotations

from enum import Enum

from schemas.enrichment import PREV_NONE


class Verdict(Enum):
    """What becomes of a message."""

    IN_ORDER = "it is the next one: append"
    AFTER_GAP = "the offsets between were never delivered: append a skip record, then it"
    REPEATED = "its offset was passed: drop it if it is the same as recorded, else the log was rewound"
    HOLE = "something before it has not arrived: alert, and drop it, since the redelivery brings it again"


def judge(expected: int, prev: int, offset: int) -> Verdict:
    """The verdict on a message of the chain's own topic id."""
    if offset == expected and prev < expected:
        return Verdict.IN_ORDER
    if offset < expected:
        return Verdict.REPEATED
    if prev >= expected:
        return Verdict.HOLE
    return Verdict.AFTER_GAP


def first_offset(prev: int, offset: int) -> int:
    """The first source offset that a new chain covers when it begins with this message."""
    return offset if prev == PREV_NONE else prev + 1
