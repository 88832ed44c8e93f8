"""`piperoll report`: which reports there are, who has them; made by hand, made again, signed."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer

from services.cli.checkpoints import gather
from services.cli.evidence import checked, progress_bar, reporter_dsn
from services.cli.reading import on_record
from services.cli.target import say, target_variables
from services.common.clock import system_clock
from services.common.errors import ConfigurationError
from services.common.settings import KafkaSettings, read_settings
from services.reporter.deliver.editions.outlets import outlet_for
from services.reporter.escape import terminal
from services.reporter.formats import FORMATS
from services.reporter.runs import by_hand
from services.reporter.runs.account import as_lines, schedule_lines
from services.reporter.runs.by_hand import Wanted
from services.reporter.runs.configuration import Configuration, read_configuration
from services.reporter.runs.due import next_span
from services.reporter.runs.editions import Rebuilt, rebuild
from services.reporter.runs.event_logs import open_logs
from services.reporter.runs.filing import PROOF, Filing, unrecorded
from services.reporter.runs.ledger import open_ledger
from services.reporter.runs.making import Wish, write_files
from services.reporter.runs.others import reasons, write_other
from services.reporter.runs.own_events import SystemTopic, user
from services.reporter.runs.rows import NewIntent
from services.reporter.runs.settings import RunsSettings
from services.reporter.runs.signing import Signature, sign_edition
from services.reporter.store import open_snapshot

app = typer.Typer(no_args_is_help=True)
report = typer.Typer(help="Reports and their editions.", no_args_is_help=True)
app.add_typer(report, name="report")

_PERIOD = "A month, week or day by event time, as 2026-10, 2026-W41, 2026-10-05."
ScheduleOption = Annotated[
    str | None, typer.Option("--schedule", help="Of this schedule of reports.yaml; default: of none.")
]
FormatOption = Annotated[str, typer.Option("--format", help=f"Of {', '.join(FORMATS)}, with commas.")]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]
_DEFAULT_FORMATS = ",".join(FORMATS)


@report.command("list")
def list_(
    schedule: ScheduleOption = None,
    most: Annotated[int, typer.Option(min=1, help="How many, the newest.")] = 20,
    every: Annotated[
        bool, typer.Option("--all", help="Every edition, also replaced ones that nobody signed.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Which reports there are and are to come, and who has which edition: of each the last one, and those that were signed.

    Exit status: 0 all are made and delivered as they should be; 1 one is late, not delivered, or its chains did not verify;
    2 it could not be looked up.
    """
    with checked():
        configuration = _configuration()
        rows, coming = asyncio.run(_listing(configuration, schedule, most, every=every))
    if as_json:
        print(json.dumps({"reports": rows, "schedules": coming}))
    else:
        print("\n".join(terminal(line) for line in [*as_lines(rows), *schedule_lines(coming)]))
    raise typer.Exit(1 if any(row["wrong"] for row in rows) else 0)


async def _listing(
    configuration: Configuration, schedule: str | None, most: int, *, every: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    now = datetime.now(UTC)
    async with open_ledger(reporter_dsn()) as ledger:
        rows = await ledger.listing(most, schedule, every=every)
        since = await ledger.recording_since()
        coming = []
        for one in configuration.schedules:
            last = await ledger.last_run(one.name)
            span, at = next_span(one, None if last is None else last.span, now, since)
            coming.append({"schedule": one.name, "period": span.label, "made_at": at.isoformat()})
    for row in rows:
        late = row["due"] is not None and datetime.fromisoformat(row["due"]) <= now
        states = [one["state"] for one in row["deliveries"] if one["kind"] == "edition"]
        undelivered = "given-up" in states or (late and bool({"waiting", "sending"} & set(states)))
        wrong = undelivered or row["good"] is False or (late and row["edition"] is None)
        row["wrong"] = wrong and row["replaced_by"] is None
    return rows, [one for one in coming if schedule in (None, one["schedule"])]


@report.command("check")
def check(
    file: Annotated[
        Path | None, typer.Argument(help="reports.yaml; default: REPORTS_FILE, else Piperoll's own.")
    ] = None,
) -> None:
    """Say what is wrong in reports.yaml, or which schedules it has, and whom the settings here do not reach. Needs no database.

    Exit status: 0 it can be used, 1 it cannot.
    """
    try:
        configuration = read_configuration(file or read_settings(RunsSettings, target_variables()).file)
    except ConfigurationError as error:
        say(str(error))
        raise typer.Exit(1) from None
    now = datetime.now(UTC)
    for one in configuration.schedules:
        span, at = next_span(one, None, now)
        count = len(one.recipients)
        to = "1 recipient" if count == 1 else f"{count} recipients"
        print(f"{one.name}: {span.label}, made {at:%Y-%m-%d %H:%M} UTC, to {to}")
    for line in _undeliverable(configuration):
        print(f"warning: {line}")


def _undeliverable(configuration: Configuration) -> list[str]:
    """Which recipients a reporter with the settings of this environment could not reach, and what is missing."""
    told = []
    for schedule in configuration.schedules:
        named = [(one.name, one.target) for one in schedule.recipients]
        if schedule.alarm is not None:
            named.append((schedule.alarm.name, schedule.alarm.target))
        for name, target in named:
            scheme = target.partition(":")[0]
            try:
                if scheme != "directory":
                    outlet_for(scheme, system_clock)
            except ConfigurationError as error:
                told.append(f"{schedule.name}, {name}: {error}")
    return told


@report.command("build")
def build(
    period: Annotated[
        str | None, typer.Option(help=f"{_PERIOD} Default: the last 30 days by append time.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder; default: piperoll-report-<period>.")] = None,
    formats: FormatOption = _DEFAULT_FORMATS,
    schedule: ScheduleOption = None,
    why: Annotated[
        str | None, typer.Option(help="Why it replaces the edition that there is; needed with --schedule.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Who makes it; default: your name here.")] = None,
    zone: Annotated[str, typer.Option(help="Time zone of --period.")] = "UTC",
) -> None:
    """Verify, then make the next edition of a period's report. With --schedule its recipients get it too.

    Exit status: 0 it is made, 1 it is made and says that the chains do not verify, 2 it is not made.
    """
    with checked():
        topic = SystemTopic(read_settings(KafkaSettings, target_variables()))
        with progress_bar("verifying") as progress:
            built = asyncio.run(
                by_hand.build_by_hand(
                    reporter_dsn(),
                    Wanted(period, by or user(), why, schedule, zone),
                    _folder(out, period),
                    _formats(formats),
                    configuration=_configuration(),
                    evidence=gather()[0],
                    topic=topic,
                    patience_s=_patience_s(),
                    progress=progress,
                    told=say,
                )
            )
        topic.close()
    edition = built.edition
    say(edition.verdict)
    say(
        f"edition {edition.id}, SHA-256 {edition.sha256}"
        + (f", replaces {edition.replaces}" if edition.replaces else "")
    )
    for line in edition.differs[:20]:
        say(f"  {line['figure']}: {line['before']} -> {line['after']}")
    if built.unrecorded is not None:
        say(
            f"its hash is not on record yet ({built.unrecorded}): a reporter that runs will see to it, or build it again"
        )
    if built.unproved is not None:
        say(_without_proof(built.unproved))
    for path in built.paths:
        print(path)
    raise typer.Exit(0 if edition.good else 1)


@report.command("preview")
def preview(
    period: Annotated[str | None, typer.Option(help=_PERIOD)] = None,
    out: Annotated[Path | None, typer.Option(help="Folder; default: piperoll-report-<period>.")] = None,
    formats: FormatOption = _DEFAULT_FORMATS,
    schedule: ScheduleOption = None,
    zone: Annotated[str, typer.Option(help="Time zone of --period.")] = "UTC",
    template: Annotated[
        Path | None, typer.Option(help="A Jinja2 template of your own (Markdown), filled into report.own.md.")
    ] = None,
    record: Annotated[bool, typer.Option(help="Put on record that you looked (audit.system).")] = True,
) -> None:
    """Write what a report would say now. It is no edition: no number, no hash on record, nobody gets it.

    Exit status: 0 written, 2 not written.
    """
    with checked(), progress_bar("verifying") as progress:
        about = {"period": period, "schedule": schedule}
        with on_record("preview", about, record=record) as read:
            document, paths = asyncio.run(
                by_hand.preview(
                    reporter_dsn(),
                    Wanted(period, user(), None, schedule, zone),
                    _folder(out, period),
                    _formats(formats),
                    configuration=_configuration(),
                    evidence=gather()[0],
                    template=template,
                    progress=progress,
                )
            )
            read["count"] = document["totals"]["all"]["events"]
    for path in paths:
        print(path)


@report.command("rebuild")
def rebuild_(
    edition: Annotated[str, typer.Argument(help="As `report list` names it: monthly/2026-10/1.")],
    out: Annotated[Path | None, typer.Option(help="Write its files into this folder too.")] = None,
    formats: FormatOption = "json",
    record: Annotated[bool, typer.Option(help="Put on record that it was rebuilt (audit.system).")] = True,
    as_json: JsonOption = False,
) -> None:
    """Make an edition again from the records below its cut, and compare: the same byte for byte, or what went since. What is
    other is written under names of its own (other-than-edition.…), says so, and gets no proof.

    Exit status: 0 the same, or other and what was erased since is named; 1 other, and nothing was erased; 2 not possible.
    """
    with checked(), on_record("rebuild", {"edition": edition}, record=record) as read:
        found, without = asyncio.run(_rebuild(edition, out, _formats(formats), record=record))
        read["count"] = found.document["totals"]["all"]["events"]
    if without is not None:
        say(without)
    told = {
        "edition": found.edition.id,
        "sha256": found.edition.sha256,
        "same": found.same,
        "parts": found.parts,
        "gone": found.gone,
    }
    print(json.dumps(told) if as_json else "\n".join(terminal(line) for line in _rebuilt_lines(found)))
    raise typer.Exit(0 if found.explained else 1)


async def _rebuild(
    name: str, out: Path | None, formats: list[str], *, record: bool
) -> tuple[Rebuilt, str | None]:
    """And, in a sentence, why the proof of the files that were written does not lie beside them."""
    dsn, wish = reporter_dsn(), Wish(formats)
    async with open_ledger(dsn) as ledger, open_snapshot(dsn) as snapshot, open_logs() as logs:
        edition = await ledger.edition(name)
        found = await rebuild(snapshot, edition, logs)
        if out is None:
            return found, None
        await asyncio.to_thread(lambda: out.mkdir(parents=True, exist_ok=True))
        if not found.same:
            written = await write_other(snapshot, found, wish, out, gather()[0], logs)
            names = ", ".join(path.name for path in written)
            return (
                found,
                f"none of these is a file of {name}, so there is no record and no proof of them: {names}",
            )
        paths = await write_files(snapshot, edition.inputs, found.document, wish, out, gather()[0], logs)
    if not record:
        why = "rebuilt with --no-record: the hashes of these files are on no record"
        unrecorded(found.document, wish, out, paths, why)
        return found, _without_proof(why)
    topic = SystemTopic(read_settings(KafkaSettings, target_variables()))
    filing = Filing(dsn, topic.record, _patience_s(), system_clock, say)
    try:
        filed = await filing.file(edition, found.document, wish, user(), out, paths)
    finally:
        topic.close()
    return found, None if filed.unproved is None else _without_proof(filed.unproved)


def _without_proof(why: str) -> str:
    return f"without {PROOF}, the proof of the files' hashes: {why}"


def _patience_s() -> float:
    return read_settings(RunsSettings, target_variables()).proof_wait_s


def _rebuilt_lines(found: Rebuilt) -> list[str]:
    edition = found.edition
    if found.same:
        return [f"the same, byte for byte: {edition.id}, SHA-256 {edition.sha256}, {edition.size:,} bytes"]
    return [
        f"other than it was: {edition.id}; its parts {', '.join(found.parts)} differ",
        *reasons(found),
    ]


@report.command("sign")
def sign(
    edition: Annotated[str, typer.Argument(help="As `report list` names it: monthly/2026-10/1.")],
    by: Annotated[str, typer.Option(help="Who signs.")],
    role: Annotated[str, typer.Option(help="As what, as in `compliance officer`.")],
    statement: Annotated[str, typer.Option(help="What is said with the signature.")],
    despite: Annotated[
        bool, typer.Option("--despite", help="Although its verification is red, or it was replaced.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Why, with --despite.")] = None,
) -> None:
    """Sign an edition: an own event in the chain, which names its hash.

    Exit status: 0 signed and recorded; 2 not signed.
    """
    with checked():
        settings = read_settings(KafkaSettings, target_variables())
        signature = Signature(edition, by, role, statement, user(), despite, reason)
        topic = SystemTopic(settings)
        signed = asyncio.run(sign_edition(reporter_dsn(), signature, topic, system_clock))
        topic.close()
    print(f"signed: {signed.id}, SHA-256 {signed.sha256}, by {terminal(by)} ({terminal(role)})")


@report.command("send")
def send(
    schedule: Annotated[str, typer.Argument(help="A schedule of reports.yaml.")],
    test: Annotated[bool, typer.Option("--test", help="A test message to each recipient.")] = False,
) -> None:
    """Have the reporter send a test message to each recipient of a schedule, and to whom its alarm goes.

    Exit status: 0 the reporter will send it (`report list` says what became of it), 2 not possible.
    """
    with checked():
        if not test:
            raise ConfigurationError(
                "editions are delivered by the reporter itself; --test sends a test message, and `piperoll report build "
                "--schedule … --why …` makes and delivers a new edition"
            )
        names = asyncio.run(_send_tests(_configuration(), schedule))
    for name in names:
        print(f"to be sent: {terminal(name)}")


async def _send_tests(configuration: Configuration, name: str) -> list[str]:
    schedule = configuration.schedule(name)
    if schedule is None:
        raise ConfigurationError(f"there is no schedule {name!r} in REPORTS_FILE")
    targets = [(one.name, one.role, one.target) for one in schedule.recipients]
    if schedule.alarm is not None:
        targets.append((schedule.alarm.name, "alarm", schedule.alarm.target))
    async with open_ledger(reporter_dsn()) as ledger:
        run = await ledger.last_run(name)
        if run is None:
            raise ConfigurationError(
                f"schedule {name!r} has no run yet: `piperoll report list` says when it will"
            )
        for recipient, role, target in targets:
            message_id = f"<test-{uuid4()}@reports.piperoll>"
            await ledger.add_test(run, NewIntent("test", recipient, role, target, "figures", [], message_id))
    return [f"{recipient} at {target}" for recipient, _, target in targets]


def _configuration() -> Configuration:
    return read_configuration(read_settings(RunsSettings, target_variables()).file)


def _folder(out: Path | None, period: str | None) -> Path:
    return out or Path(f"piperoll-report-{(period or 'last-30-days').replace('/', '-')}")


def _formats(text: str) -> list[str]:
    wanted = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in FORMATS]
    if unknown or not wanted:
        raise ConfigurationError(f"--format takes {', '.join(FORMATS)}, not {text!r}")
    return wanted
