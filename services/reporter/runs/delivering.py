"""Deliveries of editions: what stands in report.intent is delivered, tried again, and given up after a week."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from prometheus_client import Counter

from services.common.clock import Clock
from services.common.errors import ConfigurationError, FatalError, TransientError
from services.common.logging import get_logger
from services.reporter.deliver.leader import Leadership
from services.reporter.evidence import Evidence
from services.reporter.period import moment
from services.reporter.runs import directory
from services.reporter.runs.editions import gone_line, rebuild
from services.reporter.runs.ledger import Ledger, backoff
from services.reporter.runs.making import Wish, write_files
from services.reporter.runs.rows import Edition, Intent
from services.reporter.store import open_snapshot

log = get_logger(__name__)
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=1)
_MOST_ATTEMPTS = 180
"""About a week of them."""


class NotTheSameError(FatalError):
    """An edition cannot be made again as it was: what it was made of is gone, or changed."""


class Deliverer:
    """Keeps the documents that were just made, so that they need not be made again for each recipient."""

    def __init__(
        self, dsn: str, root: Path, outcomes: Counter, clock: Clock, evidence: Callable[[], Evidence]
    ) -> None:
        self._dsn = dsn
        self._root = root
        self._outcomes = outcomes
        self._clock = clock
        self._evidence = evidence
        self._documents: dict[str, dict[str, Any]] = {}

    def remember(self, edition: Edition, document: dict[str, Any]) -> None:
        self._documents[edition.id] = document

    async def deliver(self, ledger: Ledger, leader: Leadership | None = None) -> None:
        """Everything that is to be delivered now. Raises TransientError where the database or the lead is lost."""
        for intent in await ledger.open_intents(moment(self._clock())):
            if leader is not None:
                await leader.check()
            await ledger.begin(intent)
            try:
                receipt = await self._deliver(ledger, intent)
            except (TransientError, ConfigurationError, FatalError, OSError) as error:
                await self._note_failure(ledger, intent, error)
            else:
                await ledger.note_sent(intent, moment(self._clock()), receipt)
                self._outcomes.labels("sent").inc()
                log.info("report_delivered", edition=intent.edition, to=intent.recipient, kind=intent.kind)
        self._documents.clear()

    async def _note_failure(self, ledger: Ledger, intent: Intent, error: Exception) -> None:
        given_up = intent.attempts + 1 >= _MOST_ATTEMPTS or isinstance(error, NotTheSameError)
        again = moment(self._clock()) + backoff(intent.attempts, _FIRST_PAUSE, _LONGEST_PAUSE)
        await ledger.note_unsent(intent, str(error) or repr(error), None if given_up else again)
        self._outcomes.labels("given-up" if given_up else "failed").inc()
        log.error("report_not_delivered", edition=intent.edition, to=intent.recipient, error=str(error))

    async def _deliver(self, ledger: Ledger, intent: Intent) -> dict[str, Any]:
        if intent.kind == "alarm":
            return await asyncio.to_thread(self._alarm, intent)
        if intent.kind == "test" or intent.edition is None:
            return await asyncio.to_thread(self._test, intent)
        edition = await ledger.edition(intent.edition)
        draft = await asyncio.to_thread(directory.prepare, intent.target, self._root, edition.id)
        async with open_snapshot(self._dsn) as snapshot:
            document = self._documents.get(edition.id)
            if document is None:
                document = await _again(snapshot, edition)
                self._documents[edition.id] = document
            wish = Wish(intent.formats, intent.detail)
            evidence = await asyncio.to_thread(self._evidence)
            await write_files(snapshot, document, wish, draft, evidence)
        return await asyncio.to_thread(
            directory.put, intent.target, self._root, draft, edition.id, edition.sha256
        )

    def _alarm(self, intent: Intent) -> dict[str, Any]:
        text = (
            f"The report {intent.schedule}/{intent.label} was not delivered in time. `piperoll report list` shows to whom not, "
            "and why.\n"
        )
        return directory.put_note(
            intent.target, self._root, f"LATE-{intent.schedule}-{intent.label}.txt", text
        )

    def _test(self, intent: Intent) -> dict[str, Any]:
        text = (
            f"This is a test of Piperoll: reports of {intent.schedule} for {intent.recipient} arrive here.\n"
        )
        return directory.put_note(intent.target, self._root, f"TEST-{intent.schedule}.txt", text)


async def _again(snapshot: Any, edition: Edition) -> dict[str, Any]:
    """The document of an edition that this process did not make. Raises NotTheSameError."""
    made = await rebuild(snapshot, edition)
    if made.same:
        return made.document
    why = "; ".join(map(gone_line, made.gone[:5])) or "and nothing was erased: run `piperoll verify`"
    raise NotTheSameError(
        f"edition {edition.id} cannot be made again as it was ({why}): make a new one with `piperoll report build --schedule "
        f"{edition.inputs.schedule} --period {edition.inputs.period.label} --why …`"
    )
