"""The records behind each fact, looked up for all facts in one pass over the selected events."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from services.reporter.contents.selection import Selection
from services.reporter.grounding.drafts import Draft, drafts_of
from services.reporter.grounding.fact import MOST_FACTS, MOST_SAMPLES, Basis, Fact

CONDITIONS = {
    "all": "true",
    "high": "risk >= 4",
    "open": "(floor >= 4 OR ai >= 4) AND coalesce(review, 'open') = 'open'",
    "poison": "kind = 3",
    "erased": "blank",
    "ai": "by <> 'rules'",
    "type": "kind = 1 AND type = {key}",
    "source": "kind = 1 AND source = {key}",
    "actor": "actor = {key}",
    "rule": "{key} = ANY (rules)",
    "tag": "{key} = ANY (tags)",
}
"""Which of the selected events a figure counts, in SQL: as the query `counts` counts it. Keys are given as parameters."""
_FIRST_PARAMETER = 15


async def facts_of(selection: Selection, made: dict[str, Any]) -> list[Fact]:
    """The facts of a document whose citations are still records by number, MOST_FACTS at most."""
    drafts = drafts_of(made)[:MOST_FACTS]
    counted = [draft for draft in drafts if draft.figure is not None]
    bases = dict(zip((draft.id for draft in counted), await _look_up(selection, counted), strict=True))
    return [_fact(draft, bases.get(draft.id) or basis_of(draft.cites)) for draft in drafts]


def basis_of(numbers: Sequence[int]) -> Basis:
    """Of records by number."""
    ordered = sorted(set(numbers))
    data = b"".join(number.to_bytes(8) for number in ordered)
    return Basis(len(ordered), sha256(data).hexdigest(), tuple(ordered[:MOST_SAMPLES]))


async def _look_up(selection: Selection, drafts: Sequence[Draft]) -> list[Basis]:
    if not drafts:
        return []
    tallies = [_Tally() for _ in drafts]
    conditions = [_condition(draft, at) for at, draft in enumerate(drafts)]
    async for row in selection.numbers(conditions, [draft.key or "" for draft in drafts]):
        for tally, data in zip(tallies, row, strict=True):
            tally.add(data or b"")
    return [tally.basis for tally in tallies]


def _condition(draft: Draft, at: int) -> str:
    """Whether an event is one of a figure's. Only texts of this module become SQL."""
    parameter = f"${_FIRST_PARAMETER + at}::text"
    return f"({CONDITIONS[draft.figure or ''].format(key=parameter)}) AND {parameter} IS NOT NULL"


class _Tally:
    """The numbers of a figure's records, as they come: sorted, 8 bytes each."""

    def __init__(self) -> None:
        self._bytes, self._digest, self._first = 0, sha256(), b""

    def add(self, data: bytes) -> None:
        self._bytes += len(data)
        self._digest.update(data)
        if len(self._first) < 8 * MOST_SAMPLES:
            self._first = (self._first + data)[: 8 * MOST_SAMPLES]

    @property
    def basis(self) -> Basis:
        samples = (int.from_bytes(self._first[at : at + 8]) for at in range(0, len(self._first), 8))
        return Basis(self._bytes // 8, self._digest.hexdigest(), tuple(samples))


def _fact(draft: Draft, basis: Basis) -> Fact:
    return Fact(draft.id, draft.pieces, frozenset({draft.topic}), draft.sql, basis, draft.value, draft.must)
