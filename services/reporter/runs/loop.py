"""The leader's loop: what is due is made, recorded, delivered; what is late is said.

Each turn begins from what stands in the database, so it does not matter where the turn before, or another reporter, ended.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha256
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.common.alerts import Alert
from services.common.announcer import Announcer
from services.common.clock import Clock
from services.common.errors import ConfigurationError, FatalError, TransientError
from services.common.logging import get_logger
from services.common.settings import KafkaSettings
from services.reporter.deliver.leader import Leadership, leadership
from services.reporter.evidence import TOPIC, Evidence, configured_evidence
from services.reporter.period import moment
from services.reporter.runs.configuration import Configuration, Schedule, read_configuration
from services.reporter.runs.delivering import Deliverer
from services.reporter.runs.due import filters_of, intents_of, note_due, period_of
from services.reporter.runs.editions import Asked, Ground, make_edition, open_ground
from services.reporter.runs.filing import Filing
from services.reporter.runs.ledger import Ledger, backoff, open_ledger
from services.reporter.runs.own_events import SystemTopic, delivery_event, edition_event
from services.reporter.runs.rows import NewIntent, Run
from services.reporter.runs.settings import RunsSettings
from services.reporter.settings import VerifySettings

log = get_logger(__name__)
SOURCE = "piperoll/reporter"
_PAUSE_S = 15.0
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=30), timedelta(minutes=15)
_CANNOT = (TransientError, ConfigurationError, FatalError, OSError, ValueError)
"""What may go wrong with one report and must not hold up the others."""


class RunsMetrics:
    """What the reporter makes by itself."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.editions = Counter(
            "piperoll_report_editions", "Editions made, by schedule.", ["schedule"], registry=registry
        )
        self.failures = Counter(
            "piperoll_report_failures",
            "Editions that could not be made, and schedules that cannot be followed.",
            ["schedule"],
            registry=registry,
        )
        self.deliveries = Counter(
            "piperoll_report_deliveries", "Deliveries of reports, by outcome.", ["outcome"], registry=registry
        )
        self.late = Counter(
            "piperoll_reports_late", "Reports that were late.", ["schedule"], registry=registry
        )
        self.alerts = Counter("piperoll_report_alerts", "Alerts said, by name.", ["name"], registry=registry)
        self.open = Gauge("piperoll_reports_due", "Reports that are due and not made.", registry=registry)


class Trouble(NamedTuple):
    """How often something failed, and when it is tried again."""

    times: int
    again_at: datetime


class Runs:
    """Runs once, by `run`, beside the courier and the watch."""

    def __init__(
        self,
        kafka: KafkaSettings,
        dsn: str,
        settings: RunsSettings,
        verifying: VerifySettings,
        metrics: RunsMetrics,
        clock: Clock,
    ) -> None:
        self._kafka = kafka
        self._dsn = dsn
        self._settings = settings
        self._verifying = verifying
        self._metrics = metrics
        self._clock = clock
        self._topic = SystemTopic(kafka)
        self._announcer: Announcer | None = None
        self._configuration: Configuration | None = None
        self._troubles: dict[str, Trouble] = {}
        filing = Filing(dsn, self._topic.record, settings.proof_wait_s, clock, _waiting)
        self._deliverer = Deliverer(dsn, settings.folder, metrics.deliveries, clock, self._evidence, filing)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. Raises ConfigurationError where REPORTS_FILE is wrong at the start."""
        self._configuration = read_configuration(self._settings.file)
        log.info("schedules", names=[schedule.name for schedule in self._configuration.schedules])
        while not stop.is_set():
            try:
                async with leadership(self._dsn, f"{self._kafka.topic_prefix}/reports", stop) as leader:
                    while leader is not None and not stop.is_set():
                        await self.turn(leader)
                        await _wait(stop, self._settings.every_s)
            except TransientError as error:
                log.warning("reports_held", error=str(error))
                await _wait(stop, _PAUSE_S)
        await asyncio.to_thread(self._close)

    async def turn(self, leader: Leadership | None = None) -> None:
        """Everything that is to be done now. Raises TransientError, ConfigurationError."""
        schedules = {schedule.name: schedule for schedule in (await self._read()).schedules}
        try:
            await self._turn(schedules, leader)
        finally:
            await asyncio.to_thread(self._deliverer.forget)

    async def _turn(self, schedules: dict[str, Schedule], leader: Leadership | None) -> None:
        async with open_ledger(self._dsn) as ledger:
            for schedule in schedules.values():
                await self._note(ledger, schedule)
            await self._say_late(ledger, schedules)
            await self._make(ledger, schedules, leader)
            await self._record(ledger)
            await self._deliverer.deliver(ledger, leader)
            await self._record_deliveries(ledger)

    @property
    def _now(self) -> datetime:
        return moment(self._clock())

    async def _read(self) -> Configuration:
        """The file as it is now; what it said before where it is wrong."""
        try:
            self._configuration = read_configuration(self._settings.file)
        except ConfigurationError as error:
            await self._fail("", "reports_file_wrong", str(error))
            if self._configuration is None:
                raise
        return self._configuration

    async def _note(self, ledger: Ledger, schedule: Schedule) -> None:
        try:
            for run in await note_due(ledger, schedule, self._now):
                log.info("report_due", run=run.name, start=str(run.span.start), end=str(run.span.end))
        except ConfigurationError as error:
            await self._fail(schedule.name, "schedule_changed", str(error))

    async def _fail(self, schedule: str, event: str, error: str) -> None:
        """Said once until it changes."""
        key = f"{event}:{schedule}:{error}"
        if key not in self._troubles:
            self._troubles[key] = Trouble(1, self._now)
            self._metrics.failures.labels(schedule).inc()
            await asyncio.to_thread(self._announce, _wrong(event, schedule, error))

    async def _make(self, ledger: Ledger, schedules: dict[str, Schedule], leader: Leadership | None) -> None:
        runs = await ledger.runs_to_make(schedules)
        self._metrics.open.set(len(runs))
        runs = [run for run in runs if self._may_try(run)]
        if not runs:
            return
        try:
            evidence = await asyncio.to_thread(self._evidence)
            processes = self._verifying.processes
            async with open_ground(
                self._dsn, evidence, processes=processes, kafka=self._kafka, logs=self._deliverer.logs
            ) as ground:
                for run in runs:
                    if leader is not None:
                        await leader.check()
                    if not self._waits_for_seal(run, schedules[run.schedule], ground):
                        await self._make_one(ledger, run, schedules[run.schedule], ground)
        except _CANNOT as error:
            for run in runs:
                await self._note_trouble(ledger, run, error)

    def _evidence(self) -> Evidence:
        return configured_evidence(self._verifying, self._kafka if TOPIC in self._verifying.places else None)

    def _waits_for_seal(self, run: Run, schedule: Schedule, ground: Ground) -> bool:
        """Whether the cut is a seal from before the period was closed; waited for until the report is due."""
        closed = run.span.end + schedule.grace
        if ground.cut.seal_no is None or moment(ground.cut.time_us) >= closed:
            return False
        overdue = run.due is not None and self._now >= run.due
        if not overdue:
            log.info("report_waits_for_seal", run=run.name, last_seal=ground.cut.seal_no)
        return not overdue

    async def _make_one(self, ledger: Ledger, run: Run, schedule: Schedule, ground: Ground) -> None:
        asked = Asked(
            period_of(schedule, run),
            f"schedule {schedule.name}",
            None,
            filters_of(schedule),
            schedule.language,
            None if schedule.template is None else str(schedule.template),
            any(one.detail == "full" for one in schedule.recipients),
        )
        try:
            if await ledger.last_edition(run) is not None:
                return  # by another reporter, which has lost the lead since
            made = await make_edition(ledger, ground, run, asked, intents_of(schedule), self._clock)
        except _CANNOT as error:
            await self._note_trouble(ledger, run, error)
            return
        self._troubles.pop(run.name, None)
        if made.new:
            self._metrics.editions.labels(run.schedule).inc()
            log.info(
                "edition_made", edition=made.edition.id, sha256=made.edition.sha256, good=made.edition.good
            )
        if made.document is not None:
            self._deliverer.remember(made.edition, made.document)

    def _may_try(self, run: Run) -> bool:
        trouble = self._troubles.get(run.name)
        return trouble is None or trouble.again_at <= self._now

    async def _note_trouble(self, ledger: Ledger, run: Run, error: Exception) -> None:
        before = self._troubles.get(run.name, Trouble(0, self._now))
        pause = backoff(before.times, _FIRST_PAUSE, _LONGEST_PAUSE)
        self._troubles[run.name] = Trouble(before.times + 1, self._now + pause)
        self._metrics.failures.labels(run.schedule).inc()
        log.error("edition_not_made", run=run.name, error=str(error), again_in_s=pause.total_seconds())
        await ledger.note_failure(run, str(error) or repr(error))

    async def _record(self, ledger: Ledger) -> None:
        """Hashes of editions onto audit.system, before anybody gets one."""
        for edition in await ledger.unrecorded():
            run = await ledger.run(*edition.id.split("/")[:2])
            if run is not None:
                await asyncio.to_thread(self._topic.record, [edition_event(edition, run, self._clock())])
                await ledger.note_recorded(edition.id)

    async def _record_deliveries(self, ledger: Ledger) -> None:
        """Receipts are records. Said twice after a crash in between, each is recorded once."""
        rows = await ledger.unreceipted()
        if rows:
            events = [delivery_event(row, self._clock()) for row in rows]
            await asyncio.to_thread(self._topic.record, events)
            await ledger.note_receipted([row["id"] for row in rows])

    async def _say_late(self, ledger: Ledger, schedules: dict[str, Schedule]) -> None:
        now = self._now
        for run in await ledger.late_runs(schedules, now):
            await asyncio.to_thread(self._announce, _late(run))
            alarm = schedules[run.schedule].alarm
            name = f"<late-{run.schedule}-{run.label}@reports.piperoll>"
            intents = (
                []
                if alarm is None
                else [NewIntent("alarm", alarm.name, "alarm", alarm.target, "figures", [], name)]
            )
            await ledger.note_late(run, now, intents)
            self._metrics.late.labels(run.schedule).inc()

    def _announce(self, alert: Alert) -> None:
        if self._announcer is None:
            self._announcer = Announcer(self._kafka, self._metrics.alerts, source=SOURCE)
        self._announcer.say([alert])

    def _close(self) -> None:
        self._topic.close()
        if self._announcer is not None:
            self._announcer.close()


def _waiting(what: str) -> None:
    log.info("report_waits_for_proof", what=what)


def _wrong(name: str, schedule: str, error: str) -> Alert:
    """The same error is the same alert."""
    digest = sha256(f"{name}\0{schedule}\0{error}".encode()).hexdigest()[:32]
    return Alert(
        f"reporter:{name.replace('_', '-')}:{digest}",
        "high",
        name,
        f"Reports are not made as they should be: {error}. `piperoll report check` says whether it is mended.",
        {"schedule": schedule},
    )


def _late(run: Run) -> Alert:
    """Its id follows from the run: said again after a crash, it is the same alert."""
    why = f" Why: {run.last_error}." if run.last_error else ""
    return Alert(
        f"reporter:report-late:{run.name}",
        "high",
        "report_late",
        f"The report {run.name} was due {run.due:%Y-%m-%d %H:%M} UTC and is not delivered to everybody.{why} "
        "`piperoll report list` shows to whom not.",
        {"schedule": run.schedule, "period": run.label, "due": str(run.due), "tries": run.tries},
    )


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
