"""Deliveries of editions: what stands in report.intent is delivered, tried again, and given up after a week."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from prometheus_client import Counter

from services.common.clock import Clock
from services.common.errors import ConfigurationError, FatalError, TransientError
from services.common.logging import get_logger
from services.reporter.deliver.editions.letter import letter_of, notice
from services.reporter.deliver.editions.outlets import outlet_for
from services.reporter.deliver.editions.parcel import Letter, Parcel, UncertainError
from services.reporter.deliver.leader import Leadership
from services.reporter.evidence import Evidence
from services.reporter.formats.detail import with_detail
from services.reporter.period import moment
from services.reporter.runs import directory
from services.reporter.runs.account import lateness
from services.reporter.runs.editions import gone_line, rebuild
from services.reporter.runs.event_logs import EventLogs
from services.reporter.runs.filing import MANIFEST, Filing, NotTheSameError
from services.reporter.runs.ledger import Ledger, backoff
from services.reporter.runs.making import Wish, write_files
from services.reporter.runs.rows import Edition, Intent
from services.reporter.store import open_snapshot

log = get_logger(__name__)
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=1)
_MOST_ATTEMPTS = 180
_RUNS_LOOKED_AT = 100
"""About a week of them."""
UNCERTAIN = "perhaps delivered: "
"""Before what went wrong, where the other side may have taken it all the same."""


class Deliverer:
    """Keeps the documents that were just made, so that they need not be made again for each recipient."""

    def __init__(
        self,
        dsn: str,
        root: Path,
        outcomes: Counter,
        clock: Clock,
        evidence: Callable[[], Evidence],
        filing: Filing,
    ) -> None:
        self._dsn = dsn
        self._root = root
        self._outcomes = outcomes
        self._clock = clock
        self._evidence = evidence
        self._filing = filing
        self._documents: dict[str, dict[str, Any]] = {}
        self.logs = EventLogs()

    def remember(self, edition: Edition, document: dict[str, Any]) -> None:
        self._documents[edition.id] = document

    async def deliver(self, ledger: Ledger, leader: Leadership | None = None) -> None:
        """Everything that is to be delivered now. Raises TransientError where the database or the lead is lost."""
        self._filing.begin()
        for intent in await ledger.open_intents(moment(self._clock())):
            if leader is not None:
                await leader.check()
            try:
                receipt = await self._deliver(ledger, intent)
            except UncertainError as error:
                await self._note_failure(ledger, intent, error, uncertain=True)
            except (TransientError, ConfigurationError, FatalError, OSError) as error:
                await self._note_failure(ledger, intent, error)
            else:
                state = "maybe-twice" if _may_be_second(intent) else "sent"
                await ledger.note_sent(intent, moment(self._clock()), receipt, state)
                self._outcomes.labels(state).inc()
                log.info(
                    "report_delivered",
                    edition=intent.edition,
                    to=intent.recipient,
                    kind=intent.kind,
                    state=state,
                )

    def forget(self) -> None:
        """At the end of a turn, however it ends: what was kept for the deliveries is not needed any more."""
        self._documents.clear()
        self.logs.clear()

    async def _note_failure(
        self, ledger: Ledger, intent: Intent, error: Exception, *, uncertain: bool = False
    ) -> None:
        given_up = intent.attempts + 1 >= _MOST_ATTEMPTS or isinstance(error, NotTheSameError)
        again = moment(self._clock()) + backoff(intent.attempts, _FIRST_PAUSE, _LONGEST_PAUSE)
        said = f"{UNCERTAIN if uncertain or _may_be_second(intent) else ''}{error or repr(error)}"
        await ledger.note_unsent(intent, said, None if given_up else again)
        self._outcomes.labels("given-up" if given_up else "failed").inc()
        log.error("report_not_delivered", edition=intent.edition, to=intent.recipient, error=str(error))

    async def _deliver(self, ledger: Ledger, intent: Intent) -> dict[str, Any]:
        if intent.kind == "edition" and intent.edition is not None:
            edition = await ledger.edition(intent.edition)
            if intent.target.startswith("directory:"):
                return await self._put(ledger, edition, intent)
            return await self._send_out(ledger, edition, intent)
        return await (self._alarm(ledger, intent) if intent.kind == "alarm" else self._test(ledger, intent))

    async def _put(self, ledger: Ledger, edition: Edition, intent: Intent) -> dict[str, Any]:
        draft = await asyncio.to_thread(directory.prepare, intent.target, self._root, edition.id)
        await self._write(edition, intent, draft)
        await ledger.begin(intent)
        return await asyncio.to_thread(
            directory.put, intent.target, self._root, draft, edition.id, edition.sha256
        )

    async def _write(self, edition: Edition, intent: Intent, folder: Path) -> dict[str, Any]:
        """The edition's files for a recipient, their hashes on record, with the proof of it; returns the document."""
        wish = Wish(intent.formats, intent.detail)
        async with open_snapshot(self._dsn) as snapshot:
            document = self._documents.get(edition.id)
            if document is None:
                document = await _again(snapshot, edition, self.logs)
                self._documents[edition.id] = document
            evidence = await asyncio.to_thread(self._evidence)
            paths = await write_files(snapshot, edition.inputs, document, wish, folder, evidence, self.logs)
        filed = await self._filing.file(edition, document, wish, intent.recipient, folder, paths)
        if filed.unproved is not None:
            log.warning("report_without_proof", edition=edition.id, to=intent.recipient, why=filed.unproved)
        return document

    async def _send_out(self, ledger: Ledger, edition: Edition, intent: Intent) -> dict[str, Any]:
        """By mail, to a webhook, into a bucket: under the same id each time."""
        with tempfile.TemporaryDirectory(prefix="piperoll-report-") as name:
            folder = Path(name)
            document = await self._write(edition, intent, folder)
            letter = letter_of(with_detail(document, intent.detail), edition.sha256)
            files = await asyncio.to_thread(_files_in, folder)
            return await self._post(ledger, intent, edition.id, letter, files)

    async def _post(
        self, ledger: Ledger, intent: Intent, name: str, letter: Letter, files: Sequence[Path] = ()
    ) -> dict[str, Any]:
        scheme, _, address = intent.target.partition(":")
        outlet = outlet_for(scheme, self._clock)
        parcel = Parcel(intent.message_id, address, name, letter, files)
        return await outlet.deliver(parcel, lambda: ledger.begin(intent))

    async def _tell(
        self, ledger: Ledger, intent: Intent, file: str, subject: str, text: str
    ) -> dict[str, Any]:
        """A few words: as a file in a directory, else as a message."""
        if intent.target.startswith("directory:"):
            await ledger.begin(intent)
            return await asyncio.to_thread(directory.put_note, intent.target, self._root, file, text)
        return await self._post(ledger, intent, file.removesuffix(".txt"), notice(subject, text))

    async def _alarm(self, ledger: Ledger, intent: Intent) -> dict[str, Any]:
        name = f"{intent.schedule}/{intent.label}"
        rows = await ledger.listing(_RUNS_LOOKED_AT, intent.schedule)
        row = next((row for row in rows if row["label"] == intent.label), None)
        text = f"The report {name} was not delivered in time.\n" + ("" if row is None else lateness(row))
        return await self._tell(
            ledger, intent, f"LATE-{name.replace('/', '-')}.txt", f"Report {name} is late", text
        )

    async def _test(self, ledger: Ledger, intent: Intent) -> dict[str, Any]:
        text = (
            f"This is a test of Piperoll: reports of {intent.schedule} for {intent.recipient} arrive here.\n"
        )
        return await self._tell(
            ledger, intent, f"TEST-{intent.schedule}.txt", f"Test of the report {intent.schedule}", text
        )


def _files_in(folder: Path) -> list[Path]:
    """MANIFEST the last: where a bucket has it, it has all that it names."""
    return sorted(
        (path for path in folder.iterdir() if path.is_file()),
        key=lambda path: (path.name == MANIFEST, path.name),
    )


def _may_be_second(intent: Intent) -> bool:
    """Whether an earlier try may have reached the other side: it ended without an answer, or this process died in it. Into a
    directory or a bucket the same bytes are put again."""
    if intent.target.startswith(("directory:", "s3:")):
        return False
    return intent.state == "sending" or (intent.last_error or "").startswith(UNCERTAIN)


async def _again(snapshot: Any, edition: Edition, logs: EventLogs) -> dict[str, Any]:
    """The document of an edition that this process did not make. Raises NotTheSameError."""
    made = await rebuild(snapshot, edition, logs)
    if made.same:
        return made.document
    why = "; ".join(map(gone_line, made.gone[:5])) or "and nothing was erased: run `piperoll verify`"
    raise NotTheSameError(
        f"edition {edition.id} cannot be made again as it was ({why}): make a new one with `piperoll report build --schedule "
        f"{edition.inputs.schedule} --period {edition.inputs.period.label} --why …`"
    )
