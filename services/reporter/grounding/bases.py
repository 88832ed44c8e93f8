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
    columns = [_column(draft, at) for at, draft in enumerate(drafts)]
    row = await selection.aggregate(columns, [draft.key or "" for draft in drafts])
    return [_read(row[at] or b"") for at in range(len(drafts))]


def _column(draft: Draft, at: int) -> str:
    """The numbers of a figure's records, sorted, as bytes. Only texts of this module become SQL."""
    condition = CONDITIONS[draft.figure or ""].format(key=f"${_FIRST_PARAMETER + at}::text")
    return f"string_agg(int8send(id), ''::bytea ORDER BY id) FILTER (WHERE ({condition}) AND ${_FIRST_PARAMETER + at}::text IS NOT NULL)"


def _read(data: bytes) -> Basis:
    samples = (int.from_bytes(data[at : at + 8]) for at in range(0, min(len(data), 8 * MOST_SAMPLES), 8))
    return Basis(len(data) // 8, sha256(data).hexdigest(), tuple(samples))


def _fact(draft: Draft, basis: Basis) -> Fact:
    return Fact(draft.id, draft.pieces, frozenset({draft.topic}), draft.sql, basis, draft.value, draft.must)
