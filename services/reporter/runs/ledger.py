"""The book of runs, editions and deliveries: schema report, the only one in which the reporter writes.

Rows are added, hardly ever changed: which editions there are and what they were made of never is.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg

from schemas.commitment import identity_hash
from services.common.errors import ConfigurationError
from services.common.queries import load_queries
from services.reporter.runs.calendar import Calendar, Span
from services.reporter.runs.rows import Edition, Intent, NewIntent, Run, read_edition, read_run
from services.reporter.store import translated

QUERIES = load_queries(Path(__file__).with_name("queries.sql"))
_MOST_ERROR = 500


class Ledger:
    """Made by `open_ledger`. Everything raises TransientError or ConfigurationError where PostgreSQL cannot."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def _rows(self, query: str, *arguments: Any) -> list[Any]:
        with translated():
            rows: list[Any] = await self._connection.fetch(QUERIES[query], *arguments)
            return rows

    async def _row(self, query: str, *arguments: Any) -> Any:
        rows = await self._rows(query, *arguments)
        return rows[0] if rows else None

    async def add_run(
        self, schedule: str, span: Span, calendar: Calendar, due: datetime | None = None
    ) -> Run | None:
        """Notes a period; None where another one of this schedule has its label."""
        said = json.dumps(calendar.as_json())
        await self._rows("add_run", schedule, span.label, span.start, span.end, calendar.time_zone, said, due)
        run = await self.run(schedule, span.label)
        return run if run is not None and run.span == span else None

    async def run(self, schedule: str, label: str) -> Run | None:
        row = await self._row("run", schedule, label)
        return None if row is None else read_run(row)

    async def last_run(self, schedule: str) -> Run | None:
        row = await self._row("last_run", schedule)
        return None if row is None else read_run(row)

    async def runs_to_make(self, schedules: Collection[str]) -> list[Run]:
        """Those without an edition, the oldest first."""
        return [read_run(row) for row in await self._rows("runs_to_make", list(schedules))]

    async def late_runs(self, schedules: Collection[str], now: datetime) -> list[Run]:
        """Those that are due and not delivered, and of which nobody was told yet."""
        return [read_run(row) for row in await self._rows("late_runs", list(schedules), now)]

    async def note_failure(self, run: Run, error: str) -> None:
        await self._rows("tried", run.id, error[:_MOST_ERROR])

    async def add_edition(self, edition: Edition, intents: Sequence[NewIntent]) -> bool:
        """An edition and what is to be delivered of it, in one transaction; False where another reporter was faster: then
        nothing is added."""
        with translated():
            async with self._connection.transaction():
                if await self._row("add_edition", *_columns(edition)) is None:
                    return False
                for intent in intents:
                    await self._rows("add_intent", edition.run, edition.id, *intent)
        return True

    async def note_late(self, run: Run, now: datetime, intents: Sequence[NewIntent]) -> None:
        """That a run is late, and whom to tell."""
        with translated():
            async with self._connection.transaction():
                for intent in intents:
                    await self._rows("add_intent", run.id, None, *intent)
                await self._rows("late", run.id, now)

    async def recording_since(self) -> datetime | None:
        """When the first record was appended; None where there is none."""
        row = await self._row("recording_since")
        return None if row is None else row["since"]

    async def add_test(self, run: Run, intent: NewIntent) -> None:
        await self._rows("add_intent", run.id, None, *intent)

    async def edition(self, identifier: str) -> Edition:
        """Raises ConfigurationError where there is none."""
        row = await self._row("edition", identifier)
        if row is None:
            raise ConfigurationError(
                f"there is no edition {identifier!r}: `piperoll report list` shows which there are"
            )
        return read_edition(row)

    async def last_edition(self, run: Run) -> Edition | None:
        row = await self._row("last_edition", run.id)
        return None if row is None else await self.edition(row["id"])

    async def unrecorded(self) -> list[Edition]:
        """Editions whose hash is not on audit.system yet."""
        return [await self.edition(row["id"]) for row in await self._rows("unrecorded")]

    async def note_recorded(self, edition: str) -> None:
        await self._rows("recorded", edition)

    async def open_intents(self, now: datetime) -> list[Intent]:
        """What is to be delivered now."""
        return [Intent(**dict(row)) for row in await self._rows("open_intents", now)]

    async def begin(self, intent: Intent) -> None:
        """Before anything is sent."""
        await self._rows("sending", intent.id)

    async def note_sent(
        self, intent: Intent, now: datetime, receipt: dict[str, Any], state: str = "sent"
    ) -> None:
        await self._rows("sent", intent.id, state, now, json.dumps(receipt))

    async def note_unsent(self, intent: Intent, error: str, again_at: datetime | None) -> None:
        """`again_at` None: it is given up."""
        state = "given-up" if again_at is None else "waiting"
        await self._rows("failed", intent.id, state, again_at, error[:_MOST_ERROR], intent.attempts + 1)

    async def unreceipted(self) -> list[Any]:
        """Deliveries that are over and not on audit.system yet, as rows."""
        return await self._rows("unreceipted")

    async def note_receipted(self, intents: Sequence[int]) -> None:
        await self._rows("receipted", list(intents))

    async def listing(
        self, most: int, schedule: str | None = None, *, every: bool = False
    ) -> list[dict[str, Any]]:
        """The newest runs with their last edition and the signed ones, or with `every` edition, as objects for programs. What a
        signature says stands in its record: `despite` and `reason` are None where that is not in the chains (yet)."""
        rows = [_listed(row) for row in await self._rows("runs", most, schedule, every)]
        signatures = [(one, row["edition"]) for row in rows for one in row["signatures"]]
        names = [identity_hash("own-event", one["event_id"]) for one, _ in signatures]
        said = {row["identity_hash"]: row["said"] for row in await self._rows("signing", names)}
        for name, (one, edition) in zip(names, signatures, strict=True):
            one.update(_said_by(said.get(name), edition))
        return rows

    async def sign(self, edition: str, by: str, role: str, event_id: str) -> bool:
        """Notes a signature; False where this person has signed in this role."""
        return await self._row("add_signature", edition, by, role, event_id) is not None

    async def signed(self, edition: str, by: str, role: str) -> bool:
        return await self._row("signed", edition, by, role) is not None


@asynccontextmanager
async def open_ledger(dsn: str) -> AsyncIterator[Ledger]:
    """Connects. Raises TransientError or ConfigurationError."""
    with translated():
        connection = await asyncpg.connect(
            dsn,
            timeout=10,
            command_timeout=60,
            server_settings={"application_name": "piperoll-reports", "TimeZone": "UTC"},
        )
    try:
        yield Ledger(connection)
    finally:
        connection.terminate()


def backoff(attempts: int, first: timedelta, longest: timedelta) -> timedelta:
    """Twice as long each time."""
    return min(first * (1 << min(attempts, 20)), longest)


def _columns(edition: Edition) -> list[Any]:
    said = [json.dumps(item) for item in (edition.parts, edition.counts, edition.differs)]
    return [
        *edition[:7],
        json.dumps(edition.inputs.as_json()),
        bytes.fromhex(edition.sha256),
        edition.size,
        *said,
        edition.good,
        edition.verdict,
    ]


def _said_by(raw: str | None, edition: str) -> dict[str, Any]:
    """Whether it was signed all the same, and why, as the record of a signature of this edition says it."""
    said = json.loads(raw or "null")
    if not isinstance(said, dict) or said.get("edition") != edition:
        return {"despite": None, "reason": None}
    reason = said.get("reason")
    return {"despite": said.get("despite") is True, "reason": reason if isinstance(reason, str) else None}


def _listed(row: Any) -> dict[str, Any]:
    plain = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
    return plain | {
        "sha256": None if row["sha256"] is None else row["sha256"].hex(),
        "deliveries": json.loads(row["deliveries"] or "[]"),
        "signatures": json.loads(row["signatures"] or "[]"),
    }
