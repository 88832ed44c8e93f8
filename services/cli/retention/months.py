"""Months (UTC) by append time: which are older than what is to be kept, and what they hold."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from services.common.errors import ConfigurationError
from services.common.queries import load_queries
from services.reporter.store import Snapshot, open_snapshot, translated

QUERIES = load_queries(Path(__file__).with_name("queries.sql"))
_KEEP = re.compile(r"^([1-9][0-9]{0,3})(mo|y)$")


class Month(NamedTuple):
    """A month and what was appended in it; `payloads` counts those that a retention would take."""

    name: str
    from_us: int
    until_us: int
    records: int
    payloads: int


def kept_months(text: str) -> int:
    """`13mo` or `7y` in months. Raises ConfigurationError."""
    match = _KEEP.match(text)
    if match is None:
        raise ConfigurationError(f"--keep takes months or years, as 13mo or 7y; not {text!r}")
    return int(match[1]) * (12 if match[2] == "y" else 1)


def first_kept(now_us: int, keep: int) -> int:
    """The number (12 times the year plus the month, from 0) of the oldest month that stays: the present one, which is
    not over, and `keep` months before it."""
    now = datetime.fromtimestamp(now_us / 1_000_000, UTC)
    return now.year * 12 + now.month - 1 - keep


async def due_months(dsn: str, now_us: int, keep: int) -> list[Month]:
    """The months with payloads that are to go, oldest first."""
    bound = first_kept(now_us, keep)
    async with open_snapshot(dsn) as snapshot:
        with translated():
            oldest = await snapshot.connection.fetchval(QUERIES["oldest"])
        if oldest is None:
            return []
        first = first_kept(oldest, 0)
        months = [await _month(snapshot, number) for number in range(first, bound)]
    return [month for month in months if month.payloads]


async def _month(snapshot: Snapshot, number: int) -> Month:
    start, end = _start_us(number), _start_us(number + 1)
    with translated():
        (row,) = await snapshot.connection.fetch(QUERIES["month"], start, end)
    name = f"{number // 12:04d}-{number % 12 + 1:02d}"
    return Month(name, start, end, row["records"], row["payloads"])


def _start_us(number: int) -> int:
    return int(datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
