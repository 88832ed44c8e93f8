"""The records behind each fact, looked up for all facts in one pass over the selected events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

from services.reporter.contents.selection import Selection
from services.reporter.grounding.drafts import Draft, drafts_of
from services.reporter.grounding.fact import MOST_FACTS, MOST_SAMPLES, NONE, Basis, Fact
from services.reporter.period import Period

CONDITIONS = {
    "all": "true",
    "high": "risk >= 4",
    "open": "(floor >= 4 OR ai >= 4) AND coalesce(review, 'open') = 'open'",
    "poison": "kind = 3",
    "erased": "blank",
    "critical": "risk = 5",
    "answered": "(floor >= 4 OR ai >= 4) AND answered_us IS NOT NULL",
    "ai-alone": "ai > floor AND ai >= 4 AND floor < 4",
    "typed": "kind = 1 AND NOT blank",
    "named": "actor IS NOT NULL",
    "day": "counted_us >= {start} AND counted_us < {end}",
    "ai": "by <> 'rules'",
    "type": "kind = 1 AND type = {key}",
    "source": "kind = 1 AND source = {key}",
    "actor": "actor = {key}",
    "rule": "{key} = ANY (rules)",
    "tag": "{key} = ANY (tags)",
}
"""Which of the selected events a figure counts, in SQL: as the query `counts` counts it. Keys are given as parameters, bounds of days as numbers."""
_ANY_NUMBER = 2**62
_LISTS: dict[str, tuple[str, bool, Any]] = {
    "carried": ("carried", True, _ANY_NUMBER),
    "repeats": ("repeats", False, False),
    "unchecked": ("repeats", False, True),
}
"""Records that are not among the selected events: the query, whether it is asked with the widest bounds, its argument."""
_FIRST_PARAMETER = 15


async def facts_of(selection: Selection, made: dict[str, Any]) -> list[Fact]:
    """The facts of a document whose citations are still records by number, MOST_FACTS at most."""
    drafts = drafts_of(made)[:MOST_FACTS]
    counted = [draft for draft in drafts if draft.figure is not None]
    bases = dict(zip((draft.id for draft in counted), await _look_up(selection, counted), strict=True))
    for draft in drafts:
        if draft.listed is not None:
            bases[draft.id] = await _listed(selection, draft.listed)
    return [_fact(draft, bases.get(draft.id) or basis_of(draft.cites)) for draft in drafts]


def basis_of(numbers: Sequence[int]) -> Basis:
    """Of records by number."""
    ordered = sorted(set(numbers))
    data = b"".join(number.to_bytes(8) for number in ordered)
    return Basis(len(ordered), sha256(data).hexdigest(), tuple(ordered[:MOST_SAMPLES]))


async def _look_up(selection: Selection, drafts: Sequence[Draft]) -> list[Basis]:
    """What counts the same events is looked up once."""
    if not drafts:
        return []
    firsts = {(draft.figure, draft.key): draft for draft in drafts}
    tallies = {asked: _Tally() for asked in firsts}
    conditions = [_condition(selection.period, draft, at) for at, draft in enumerate(firsts.values())]
    async for row in selection.numbers(conditions, [draft.key or "" for draft in firsts.values()]):
        for tally, data in zip(tallies.values(), row, strict=True):
            tally.add(data or b"")
    return [tallies[draft.figure, draft.key].basis for draft in drafts]


async def _listed(selection: Selection, name: str) -> Basis:
    query, wide, argument = _LISTS[name]
    tally = _Tally()
    async for data in replace(selection, wide=wide).numbers_of(query, argument):
        tally.add(data)
    return tally.basis


def _condition(period: Period, draft: Draft, at: int) -> str:
    """Whether an event is one of a figure's. Only texts and numbers of ours become SQL."""
    parameter = f"${_FIRST_PARAMETER + at}::text"
    start, end = _bounds(period, draft.key or "") if draft.figure == "day" else (0, 0)
    condition = CONDITIONS[draft.figure or ""].format(key=parameter, start=start, end=end)
    return f"({condition}) AND {parameter} IS NOT NULL"


def _bounds(period: Period, day: str) -> tuple[int, int]:
    """From when to before when events count on a day of the period, in microseconds since 1970."""
    starts = [*period.day_starts_us, period.end_us]
    at = [date.isoformat() for date in period.dates].index(day)
    return starts[at], starts[at + 1]


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
    nothing = not basis.records and draft.figure is None and draft.value != 0
    over = NONE if nothing else draft.over
    topics = frozenset({draft.topic})
    return Fact(draft.id, draft.pieces, topics, draft.sql, basis, draft.value, draft.must, over)
