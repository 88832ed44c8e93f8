"""Editions that people ask for: of a period of their choice, or a new one of a schedule's report; and previews, which are none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from services.common.clock import Clock, system_clock
from services.common.errors import ConfigurationError, FatalError, TransientError
from services.reporter.apart import Progress
from services.reporter.document import BY_HAND, Inputs
from services.reporter.evidence import Evidence
from services.reporter.period import Period, between, last_days, moment, month, period_named
from services.reporter.runs.calendar import Calendar, Span
from services.reporter.runs.configuration import Configuration
from services.reporter.runs.due import filters_of, intents_of, period_of
from services.reporter.runs.editions import Asked, Ground, Made, make_edition, open_ground
from services.reporter.runs.event_logs import open_logs
from services.reporter.runs.filing import PATIENCE_S, Filed, Filing, unrecorded
from services.reporter.runs.ledger import Ledger, open_ledger
from services.reporter.runs.making import Wish, fill_template, make_whole, software, write_files
from services.reporter.runs.own_events import SystemTopic, edition_event
from services.reporter.runs.rows import Edition, NewIntent, Run
from services.reporter.verify import Verification

AGAIN = "built again by hand"


class BuiltByHand(NamedTuple):
    """An edition, its files, and the verification in it; `unrecorded` says why its hash is not on audit.system yet, `unproved`
    why no proof of its files lies beside them; None where it is so."""

    edition: Edition
    paths: list[Path]
    verification: Verification
    unrecorded: str | None
    unproved: str | None


class Wanted(NamedTuple):
    """What somebody asks for: `schedule` and its period, or without one a period of their own."""

    period: str | None
    by: str
    why: str | None = None
    schedule: str | None = None
    zone: str = "UTC"


def chosen_period(text: str | None, zone: str, now_us: int) -> Period:
    """A period as people name it: a month, week or day by event time; without a name the last 30 days by append time.
    Its label can stand in a file's name. Raises ConfigurationError, for a period that has not begun too."""
    if text is None:
        last = last_days(now_us)
        label = f"{last.start:%Y-%m-%d}.{last.end:%Y-%m-%dT%H%M%S.%f}"
        return between(last.start, last.end, zone, "append", label)
    found = month(text) if zone == "UTC" and len(text) == len("2026-10") else period_named(text, zone)
    if found.start_us > now_us:
        raise ConfigurationError(f"{text} has not begun: there is nothing to report on yet")
    return found if zone == "UTC" else replace(found, label=f"{found.label}.{zone.replace('/', '-')}")


async def build_by_hand(
    dsn: str,
    wanted: Wanted,
    out: Path,
    formats: Collection[str],
    *,
    configuration: Configuration,
    evidence: Evidence,
    topic: SystemTopic,
    patience_s: float = PATIENCE_S,
    clock: Clock = system_clock,
    progress: Progress = lambda _done, _total: None,
    told: Callable[[str], None] = lambda _what: None,
) -> BuiltByHand:
    """The next edition of what is wanted, its files in `out`, with the proof of their hashes where it is there within
    `patience_s`. Raises TransientError, ConfigurationError, or FatalError where the folder cannot be written: then there is no
    edition."""
    _writable(out)
    wish = Wish(formats)
    async with (
        open_ledger(dsn) as ledger,
        open_logs() as logs,
        open_ground(dsn, evidence, progress=progress, kafka=topic.settings, logs=logs) as ground,
    ):
        run, asked, intents = await _asked(ledger, wanted, configuration, clock)
        made = await make_edition(ledger, ground, run, asked, intents, clock)
        edition = made.edition
        document, paths = await _write(ground, made, wish, out, evidence)
        not_recorded = await _record(ledger, topic, edition, run, clock)
    filing = Filing(dsn, topic.record, patience_s, clock, told)
    filed = await _file(filing, made, document, wish, out, paths, not_recorded)
    return BuiltByHand(edition, filed.paths, ground.verification, not_recorded, filed.unproved)


async def _file(
    filing: Filing,
    made: Made,
    document: Mapping[str, Any],
    wish: Wish,
    out: Path,
    paths: Sequence[Path],
    why_not: str | None,
) -> Filed:
    """The user has the files whatever comes of it: then edition.json says that their hashes are on no record."""
    if why_not is None:
        try:
            return await filing.file(made.edition, document, wish, made.edition.made_by, out, paths)
        except (TransientError, ConfigurationError) as error:
            why_not = str(error)
    return Filed(unrecorded(document, wish, out, paths, why_not), why_not)


async def preview(
    dsn: str,
    wanted: Wanted,
    out: Path,
    formats: Collection[str],
    *,
    configuration: Configuration,
    evidence: Evidence,
    template: Path | None = None,
    clock: Clock = system_clock,
    progress: Progress = lambda _done, _total: None,
) -> tuple[dict[str, Any], list[Path]]:
    """The document and the files that an edition made now would have, with `template` instead of the schedule's. None is made: they say so. Raises
    ConfigurationError also where the template is wrong."""
    _writable(out)
    async with (
        open_ledger(dsn) as ledger,
        open_logs() as logs,
        open_ground(dsn, evidence, progress=progress, logs=logs) as ground,
    ):
        if wanted.schedule is None:
            period = chosen_period(wanted.period, wanted.zone, clock())
            asked = Asked(period, wanted.by)
        else:
            _, asked, _ = await _asked(ledger, wanted, configuration, clock)
        inputs = Inputs(
            schedule=wanted.schedule or BY_HAND,
            period=asked.period,
            cut=ground.cut,
            number=0,
            why="a preview: not an edition, its hash is on no record",
            by=wanted.by,
            made_us=clock(),
            software=software(None if template is None else str(template)),
            integrity=ground.integrity,
            filters=asked.filters,
            language=asked.language,
            template=str(template) if template is not None else asked.template,
        )
        document = await make_whole(ground.snapshot, inputs, logs)
        wish = Wish(formats)
        paths = await write_files(ground.snapshot, inputs, document, wish, out, evidence, logs)
        if inputs.template is not None:
            await fill_template(
                Path(inputs.template), document, "full", out
            )  # once more: what is wrong in it is told
    return document, unrecorded(
        document, wish, out, paths, "a preview: the hashes of its files are on no record"
    )


async def _asked(
    ledger: Ledger, wanted: Wanted, configuration: Configuration, clock: Clock
) -> tuple[Run, Asked, list[NewIntent]]:
    if wanted.schedule is None:
        return await _own(ledger, wanted, clock)
    schedule = configuration.schedule(wanted.schedule)
    if schedule is None:
        there = ", ".join(one.name for one in configuration.schedules) or "none"
        raise ConfigurationError(
            f"there is no schedule {wanted.schedule!r} in REPORTS_FILE: there are {there}"
        )
    run = None if wanted.period is None else await ledger.run(schedule.name, wanted.period)
    if run is None:
        raise ConfigurationError(
            f"schedule {schedule.name!r} has not reported on {wanted.period!r}: `piperoll report list --schedule "
            f"{schedule.name}` shows its periods; without --schedule any period can be reported on"
        )
    asked = Asked(
        period_of(schedule, run),
        wanted.by,
        wanted.why,
        filters_of(schedule),
        schedule.language,
        None if schedule.template is None else str(schedule.template),
    )
    return run, asked, intents_of(schedule)


async def _own(ledger: Ledger, wanted: Wanted, clock: Clock) -> tuple[Run, Asked, list[NewIntent]]:
    period = chosen_period(wanted.period, wanted.zone, clock())
    span = Span(period.label, moment(period.start_us), moment(period.end_us))
    run = await ledger.add_run(BY_HAND, span, Calendar("fire", wanted.zone))
    if run is None:
        raise ConfigurationError(f"another period is called {period.label}: run it again")
    return run, Asked(period, wanted.by, wanted.why or AGAIN), []


async def _write(
    ground: Ground, made: Made, wish: Wish, out: Path, evidence: Evidence
) -> tuple[dict[str, Any], list[Path]]:
    document = made.document
    if document is None:  # somebody else made this edition just now: ours would be another one
        raise TransientError(f"{made.edition.id} was made by somebody else just now: run it again")
    try:
        return document, await write_files(
            ground.snapshot, made.edition.inputs, document, wish, out, evidence, ground.logs
        )
    except OSError as error:
        raise FatalError(
            f"edition {made.edition.id} is made, and its files cannot be written ({error}): `piperoll report rebuild "
            f"{made.edition.id} --out FOLDER` writes them"
        ) from error


async def _record(ledger: Ledger, topic: SystemTopic, edition: Edition, run: Run, clock: Clock) -> str | None:
    """A reporter that runs does it later where it fails here."""
    try:
        await asyncio.to_thread(topic.record, [edition_event(edition, run, clock())])
    except (TransientError, ConfigurationError) as error:
        return str(error)
    await ledger.note_recorded(edition.id)
    return None


def _writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".piperoll"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise FatalError(f"the report cannot be written: {error}") from error
