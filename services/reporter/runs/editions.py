"""Editions: made once, recorded, never overwritten, made anew from their inputs at any time.

Commit points, in order. (1) The run's row: that the period is to be reported. (2) The edition's row and what is to be
delivered of it, in one transaction: from here on there is this edition and no other of its number. A crash before leaves
nothing; the next leader makes it. (3) Its hash on audit.system, under an id that follows from the edition's: said twice, it
is recorded once. (4) Each delivery. After (2) everything is made from the row's inputs, by whoever comes next.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, NamedTuple

from services.common.clock import Clock
from services.common.errors import ConfigurationError
from services.common.settings import KafkaSettings
from services.reporter.account import as_json
from services.reporter.apart import Progress
from services.reporter.cutting import find_cut
from services.reporter.document import Cut, Filters, Inputs, canonical, gone_since
from services.reporter.evidence import Evidence
from services.reporter.facts_kept import check_facts, keep_facts
from services.reporter.grounding.fact import Fact
from services.reporter.grounding.summary import Ask, choose
from services.reporter.integrity import verdict
from services.reporter.period import Period, moment
from services.reporter.runs.asking import asker
from services.reporter.runs.event_logs import EventLogs
from services.reporter.runs.ledger import Ledger
from services.reporter.runs.making import counts_of, differences, make_whole, parts_of, software
from services.reporter.runs.rows import Edition, NewIntent, Run
from services.reporter.store import Snapshot, open_snapshot
from services.reporter.verify import Verification, verify_snapshot


class Asked(NamedTuple):
    """What an edition is to be: for which period, by whom, and why where it replaces another."""

    period: Period
    by: str
    why: str | None = None
    filters: Filters = Filters()
    language: str = "en"
    template: str | None = None
    attached: bool = True


class Made(NamedTuple):
    """An edition and its document; `new` False where another reporter was faster: then the document is not known here."""

    edition: Edition
    document: dict[str, Any] | None
    new: bool


@dataclass(frozen=True)
class Ground:
    """What editions are made on: a snapshot, its verification (`integrity` is that as JSON, and the facts that were looked at
    again), and where they are cut."""

    snapshot: Snapshot
    verification: Verification
    integrity: dict[str, Any]
    cut: Cut
    logs: EventLogs
    ask: Ask | None = None
    """Asks a model for the executive summary; None where facts are put together by code."""


@asynccontextmanager
async def open_ground(
    dsn: str,
    evidence: Evidence,
    *,
    processes: int | None = None,
    progress: Progress = lambda _done, _total: None,
    counting: Progress = lambda _done, _total: None,
    kafka: KafkaSettings | None = None,
    logs: EventLogs,
) -> AsyncIterator[Ground]:
    """Keeps up the facts, verifies, finds the cut, all for one snapshot. With `kafka` a model is asked where one is set up.
    Raises TransientError, ConfigurationError."""
    await keep_facts(dsn, progress=counting)
    async with open_snapshot(dsn) as snapshot:
        verification = await verify_snapshot(
            dsn, snapshot, evidence=evidence, processes=processes, progress=progress
        )
        integrity = as_json(verification) | {"facts": (await check_facts(snapshot))._asdict()}
        async with asker(kafka) as ask:
            yield Ground(snapshot, verification, integrity, await find_cut(snapshot), logs, ask)


async def make_edition(
    ledger: Ledger, ground: Ground, run: Run, asked: Asked, intents: Sequence[NewIntent], clock: Clock
) -> Made:
    """The next edition of a run; where `asked` says no reason for another one, the first alone. Raises ConfigurationError."""
    before = await ledger.last_edition(run)
    if before is not None and not asked.why:
        raise ConfigurationError(
            f"{run.name} has an edition already ({before.id}): say why it is to be replaced, with --why"
        )
    inputs = _inputs(run, asked, ground, before, clock())
    chosen: dict[str, Any] | None = None

    async def choosing(facts: Sequence[Fact]) -> dict[str, Any] | None:
        nonlocal chosen
        chosen = None if ground.ask is None else await choose(facts, ground.ask)
        return chosen

    document = await make_whole(ground.snapshot, inputs, ground.logs, choosing)
    inputs = replace(inputs, summary=chosen)
    counts = counts_of(document)
    if before is not None:
        inputs = replace(inputs, differs=differences(before.counts, counts))
        document["edition"]["differs"] = inputs.differs
    edition = _edition(run, inputs, ground, document, counts)
    if await ledger.add_edition(edition, [_named(intent, edition) for intent in intents]):
        return Made(edition, document, new=True)
    there = await ledger.edition(edition.id)
    return Made(there, None, new=False)


def _inputs(run: Run, asked: Asked, ground: Ground, before: Edition | None, now_us: int) -> Inputs:
    return Inputs(
        schedule=run.schedule,
        period=replace(asked.period, label=run.label),
        cut=ground.cut,
        number=1 if before is None else before.number + 1,
        replaces=None if before is None else before.id,
        why=None if before is None else asked.why,
        by=asked.by,
        made_us=now_us,
        software=software(asked.template),
        integrity=ground.integrity,
        filters=asked.filters,
        language=asked.language,
        template=asked.template,
        attached=asked.attached,
    )


def _edition(
    run: Run, inputs: Inputs, ground: Ground, document: dict[str, Any], counts: dict[str, int | float]
) -> Edition:
    data = canonical(document)
    return Edition(
        id=inputs.edition,
        run=run.id,
        number=inputs.number,
        replaces=inputs.replaces,
        why=inputs.why,
        made_by=inputs.by or "",
        made_at=moment(inputs.made_us),
        inputs=inputs,
        sha256=sha256(data).hexdigest(),
        size=len(data),
        parts=parts_of(document),
        counts=counts,
        differs=inputs.differs,
        good=ground.verification.good,
        verdict=verdict(ground.verification),
    )


def _named(intent: NewIntent, edition: Edition) -> NewIntent:
    """Its Message-ID follows from edition and recipient, so that a delivery that is repeated can be told from a second."""
    digest = sha256(
        f"{edition.id}\0{edition.sha256}\0{intent.recipient}\0{intent.target}".encode()
    ).hexdigest()
    return intent._replace(message_id=f"<{digest[:40]}@reports.piperoll>")


class Rebuilt(NamedTuple):
    """An edition made anew. `same`: byte for byte. Else `parts` are those that differ, and `gone` what was taken out of the
    records since, which is why they may: record, what, recorded, by, reason, events or until."""

    edition: Edition
    document: dict[str, Any]
    same: bool
    parts: list[str]
    gone: list[dict[str, Any]]

    @property
    def explained(self) -> bool:
        """Whether something went since that the edition was made of."""
        return self.same or bool(self.gone)


async def rebuild(snapshot: Snapshot, edition: Edition, logs: EventLogs) -> Rebuilt:
    """The edition's document, from its inputs and the records below its cut."""
    document = await make_whole(snapshot, edition.inputs, logs)
    if sha256(canonical(document)).hexdigest() == edition.sha256:
        return Rebuilt(edition, document, True, [], [])
    now = parts_of(document)
    parts = sorted(
        name for name in now.keys() | edition.parts.keys() if now.get(name) != edition.parts.get(name)
    )
    return Rebuilt(edition, document, False, parts, await gone_since(snapshot, edition.inputs))


def gone_line(item: dict[str, Any]) -> str:
    """One of `gone`, in words."""
    what = f"{item['events']} events" if item["until"] is None else f"payloads of {item['until']} and before"
    return f"{item['what']} of {what}, record {item['record']} of {item['recorded']}, by {item['by']}: {item['reason']}"
