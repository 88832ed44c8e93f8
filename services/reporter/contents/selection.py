"""Which records are counted, as arguments of the queries: a period, a cut and filters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from services.common.queries import load_queries
from services.reporter.inputs import ALL_EVENTS, Cut, Filters
from services.reporter.period import FUTURE_US, Period
from services.reporter.store import Snapshot, translated

QUERIES = load_queries(Path(__file__).with_name("queries.sql"))
_FIRST, _LAST = -(2**63), 2**63 - 1
_ANY_TIME = (_FIRST, _LAST, _FIRST, _LAST)
_HASHED = frozenset(("counts", "compared"))
SELECTED = "selected"
_SORTED_IN = "64MB"
"""Of PostgreSQL's memory; the rest of a sort is on its disk."""


@dataclass(frozen=True)
class Selection:
    """The events of a period below a cut, in a snapshot. `wide`: for queries that look before the period, too."""

    snapshot: Snapshot
    period: Period
    cut: Cut
    filters: Filters = ALL_EVENTS
    wide: bool = False

    def unfiltered(self) -> Selection:
        """The same without filters."""
        return Selection(self.snapshot, self.period, self.cut, wide=self.wide)

    @property
    def chains(self) -> tuple[list[int], list[int]]:
        """The chains of the cut, and the size of each at its number, as PostgreSQL counts places (from 1)."""
        numbers = sorted(self.cut.sizes)
        return numbers, [self.cut.sizes.get(number, 0) for number in range(1, max(numbers, default=0) + 1)]

    @property
    def arguments(self) -> list[Any]:
        """$1 to $14 of `selected`."""
        period, filters = self.period, self.filters
        return [
            *(period.rule, period.start_us, period.end_us, period.before_us, period.grace_us),
            *self.chains,
            *(list(filters.sources), list(filters.types), list(filters.tags)),
            *(_ANY_TIME if self.wide else _bounds(period)),
        ]

    async def fetch(self, query: str, *more: Any) -> list[asyncpg.Record]:
        """The rows of a query that begins with `selected`; `more` are $15 and on."""
        connection = self.snapshot.connection
        with translated():
            # Groups are hashed: sorting millions of rows takes ten times as long, and a hash that outgrows its memory goes to
            # disk as well. The planner thinks of as many groups as rows.
            if query in _HASHED:
                await connection.execute("SET LOCAL enable_sort = off")
            rows: list[asyncpg.Record] = await connection.fetch(statement(query), *self.arguments, *more)
            if query in _HASHED:
                await connection.execute("SET LOCAL enable_sort = on")
            return rows

    async def numbers(self, conditions: Sequence[str], keys: Sequence[str]) -> AsyncIterator[asyncpg.Record]:
        """The numbers of the selected events for which each condition holds, sorted, as 8 bytes each: rows of 65,536 numbers of a
        chain at most, so that ten millions pass through little memory. A condition is SQL with its key; `keys` are $15 and on."""
        holds = ", ".join(f"({condition}) AS c{at}" for at, condition in enumerate(conditions))
        found = ", ".join(
            f"string_agg(int8send(id), ''::bytea ORDER BY id) FILTER (WHERE c{at})"
            for at in range(len(conditions))
        )
        asked = (
            f"{QUERIES[SELECTED]}\nSELECT {found} FROM (SELECT id, {holds} FROM selected OFFSET 0) AS s"  # noqa: S608 - our own conditions
            " GROUP BY id >> 16 ORDER BY id >> 16"
        )
        with translated():
            await self.snapshot.connection.execute(f"SET LOCAL work_mem = '{_SORTED_IN}'")
            async for row in self.snapshot.connection.cursor(asked, *self.arguments, *keys, prefetch=2):
                yield row
            await self.snapshot.connection.execute("SET LOCAL work_mem TO DEFAULT")

    async def numbers_of(self, query: str, *more: Any) -> AsyncIterator[bytes]:
        """The column `id` of a query that begins with `selected`, sorted, as 8 bytes each, in portions as `numbers`; `more` are $15
        and on."""
        asked = (
            f"{QUERIES[SELECTED]}\n, listed AS ({QUERIES[query]})"
            "\nSELECT string_agg(int8send(id), ''::bytea ORDER BY id) AS found FROM listed GROUP BY id >> 16 ORDER BY id >> 16"
        )
        with translated():
            async for row in self.snapshot.connection.cursor(asked, *self.arguments, *more, prefetch=2):
                yield row["found"]

    async def stream(self, query: str, *more: Any, prefetch: int = 500) -> AsyncIterator[asyncpg.Record]:
        """The same one by one, `prefetch` of them in memory."""
        with translated():
            async for row in self.snapshot.connection.cursor(
                statement(query), *self.arguments, *more, prefetch=prefetch
            ):
                yield row

    async def fetch_below(self, query: str, *more: Any) -> list[asyncpg.Record]:
        """The rows of a query that takes only the cut, as $1 and $2; `more` are $3 and on."""
        with translated():
            rows: list[asyncpg.Record] = await self.snapshot.connection.fetch(
                QUERIES[query], *self.chains, *more
            )
            return rows


def statement(query: str) -> str:
    """A query behind the common beginning."""
    return f"{QUERIES[SELECTED]}\n{QUERIES[query]}"


def _bounds(period: Period) -> tuple[int, int, int, int]:
    """Between which append and event times everything lies that can be in the period."""
    if period.rule == "append":
        return period.start_us, period.end_us, _FIRST, _LAST
    if period.rule == "event":
        return _FIRST, _LAST, period.start_us, period.end_us
    return period.start_us - FUTURE_US, period.end_us + period.grace_us, _FIRST, _LAST
