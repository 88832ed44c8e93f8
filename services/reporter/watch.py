"""The reporter's own verification, on schedule: a verifier that nobody runs finds nothing.

One of all reporters verifies, at its start and every VERIFY_EVERY_HOURS. What it finds, and that it cannot verify for too
long, is an alert; how far and how long ago all was verified is a metric.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.common.alerts import Alert
from services.common.announcer import Announcer
from services.common.errors import ConfigurationError, TransientError
from services.common.logging import get_logger
from services.common.settings import KafkaSettings
from services.reporter.deliver.leader import leadership
from services.reporter.evidence import TOPIC, configured_evidence
from services.reporter.integrity import verdict
from services.reporter.settings import VerifySettings
from services.reporter.verify import Verification, verify_database

log = get_logger(__name__)
SOURCE = "piperoll/reporter"
_SOON_S = 60.0
_TOLD = 5


class WatchMetrics:
    """How far, how long ago and how well all was verified."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.verified_at = Gauge(
            "piperoll_verified_timestamp_seconds",
            "When the last complete verification took its snapshot.",
            registry=registry,
        )
        self.verified_seq = Gauge(
            "piperoll_verified_seq", "Up to which record a chain was verified.", ["chain"], registry=registry
        )
        self.findings = Gauge(
            "piperoll_verified_findings", "Findings of the last complete verification.", registry=registry
        )
        self.unsealed = Gauge(
            "piperoll_verified_unsealed_records",
            "Records that no checkpoint covered in the last complete verification.",
            registry=registry,
        )
        self.failures = Counter(
            "piperoll_verification_failures", "Verifications that could not be done.", registry=registry
        )
        self.alerts = Counter(
            "piperoll_verification_alerts", "Alerts said, by name.", ["name"], registry=registry
        )


class Watch:
    """Runs once, by `run`, beside the courier."""

    def __init__(
        self, kafka: KafkaSettings, dsn: str, settings: VerifySettings, metrics: WatchMetrics
    ) -> None:
        self._kafka = kafka
        self._dsn = dsn
        self._settings = settings
        self._metrics = metrics
        self._announcer: Announcer | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; at once the end where it is switched off."""
        if not self._settings.every_hours:
            return
        while not stop.is_set():
            try:
                async with leadership(self._dsn, f"{self._kafka.topic_prefix}/verify", stop) as leader:
                    while leader is not None and not stop.is_set():
                        await self._turn(stop)
                        await leader.check()
            except (TransientError, ConfigurationError) as error:
                log.warning("verification_held", error=str(error))
                await _wait(stop, _SOON_S)
        if self._announcer is not None:
            await asyncio.to_thread(self._announcer.close)

    async def _turn(self, stop: asyncio.Event) -> None:
        """One verification, and the pause until the next. One that could not be done is tried again soon."""
        every_s, first = self._settings.every_hours * 3600, time.monotonic()
        while not stop.is_set():
            try:
                await self._verify()
            except (TransientError, ConfigurationError) as error:
                self._metrics.failures.inc()
                log.warning("not_verified", error=str(error))
                if time.monotonic() - first > every_s:
                    await self._say(_overdue(self._settings.every_hours, str(error)))
                await _wait(stop, min(_SOON_S, every_s))
            else:
                await _wait(stop, every_s)
                return

    async def _verify(self) -> None:
        kafka = self._kafka if TOPIC in self._settings.places else None
        evidence = await asyncio.to_thread(configured_evidence, self._settings, kafka)
        verification = await verify_database(self._dsn, evidence=evidence, processes=self._settings.processes)
        if not verification.good:
            await self._say(_found(verification))
        metrics = self._metrics
        metrics.verified_at.set(verification.taken_us / 1_000_000)
        metrics.findings.set(verification.found)
        if verification.sealing is not None and verification.sealing.tail_records is not None:
            metrics.unsealed.set(verification.sealing.tail_records)
        for result in verification.chains:
            metrics.verified_seq.labels(str(result.chain.chain_no)).set(result.next_seq)
        log.info("verified", verdict=verdict(verification), seconds=round(verification.seconds, 1))

    async def _say(self, alert: Alert) -> None:
        await asyncio.to_thread(self._announce, alert)

    def _announce(self, alert: Alert) -> None:
        if self._announcer is None:
            self._announcer = Announcer(self._kafka, self._metrics.alerts, source=SOURCE)
        self._announcer.say([alert])


def _found(verification: Verification) -> Alert:
    """What a verification found. The same findings give the same id: said again each day, they are one alert."""
    sentences = [finding.sentence() for finding in verification.findings]
    lasting = [replace(finding, not_after_us=None).sentence() for finding in verification.findings]
    digest = sha256("\n".join(sorted(lasting)).encode()).hexdigest()[
        :32
    ]  # when it was read is no other finding
    more = f" … and {verification.found - _TOLD} more." if verification.found > _TOLD else ""
    return Alert(
        f"reporter:verification:{digest}",
        "critical",
        "verification_failed",
        f"{verdict(verification)}. {'; '.join(sentences[:_TOLD])}{more} `piperoll verify` tells all of it.",
        {"findings": verification.found, "records": verification.records},
    )


def _overdue(hours: float, why: str) -> Alert:
    return Alert(
        f"reporter:verification-overdue:{int(time.time() // (hours * 3600))}",
        "high",
        "verification_overdue",
        f"Nothing was verified for more than {hours:g} hours: {why}. Until it is, a change to old records stays unseen.",
        {"every_hours": hours, "error": why[:300]},
    )


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
