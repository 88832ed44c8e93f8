"""Rows from PostgreSQL, for tests that are not about asyncpg."""

from __future__ import annotations

from typing import Any

import asyncpg

from deploy.local.postgres import run_async


def rows(dsn: str, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
    """All rows of a query, as tuples."""

    async def ask() -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(dsn)
        try:
            return [tuple(row) for row in await connection.fetch(sql, *arguments)]
        finally:
            await connection.close()

    return run_async(ask())


def value(dsn: str, sql: str, *arguments: Any) -> Any:
    """The first column of the first row, None without one."""
    found = rows(dsn, sql, *arguments)
    return found[0][0] if found else None
