"""`python -m services.reporter`: verifies, makes one edition of the report of a period, ends.
`python -m services.reporter serve`: alerts out, verifications and reports by schedule, until SIGTERM or SIGINT.

Exit status: 0 written, or stopped; 1 written and the chains do not verify, or failed; 2 wrong settings.
"""

from __future__ import annotations

import asyncio
import sys

from services.common.errors import ConfigurationError, FatalError, TransientError
from services.common.logging import configure_logging, get_logger
from services.common.settings import KafkaSettings, LogSettings, PostgresSettings, read_settings
from services.reporter.evidence import TOPIC, configured_evidence
from services.reporter.formats import FORMATS
from services.reporter.runs.by_hand import Wanted, build_by_hand
from services.reporter.runs.configuration import Configuration
from services.reporter.runs.own_events import SystemTopic, user
from services.reporter.serve import serve
from services.reporter.settings import ReporterSettings, VerifySettings

log = get_logger(__name__)


def run(postgres: PostgresSettings, settings: ReporterSettings) -> int:
    """Makes an edition of the period that the settings name."""
    verifying, kafka = read_settings(VerifySettings), read_settings(KafkaSettings)
    evidence = configured_evidence(verifying, kafka if TOPIC in verifying.places else None)
    name = settings.period or "last-30-days"
    topic = SystemTopic(kafka)
    try:
        built = asyncio.run(
            build_by_hand(
                postgres.dsn,
                Wanted(settings.period, f"{user()} (python -m services.reporter)"),
                settings.folder / f"piperoll-report-{name}",
                tuple(FORMATS),
                configuration=Configuration(schedules=[]),
                evidence=evidence,
                topic=topic,
            )
        )
    finally:
        topic.close()
    edition = built.edition
    log.info(
        "report_built",
        edition=edition.id,
        verdict=edition.verdict,
        good=edition.good,
        sha256=edition.sha256,
        unrecorded=built.unrecorded,
        unproved=built.unproved,
        files=[str(path) for path in built.paths],
    )
    return 0 if edition.good else 1


def main() -> None:
    """Settings, logging, and one report or the service."""
    try:
        configure_logging(read_settings(LogSettings), "reporter")
        if "serve" in sys.argv[1:]:
            status = asyncio.run(serve())
        else:
            status = run(read_settings(PostgresSettings), read_settings(ReporterSettings))
    except ConfigurationError as error:
        log.critical("settings_wrong", error=str(error))
        status = 2
    except (TransientError, FatalError) as error:
        log.critical("reporter_failed", error=str(error))
        status = 1
    sys.exit(status)


if __name__ == "__main__":
    main()
