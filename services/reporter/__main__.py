"""`python -m services.reporter`: verifies, builds one report, ends. (Schedules are still to come.)
`python -m services.reporter serve`: sends alerts out, until SIGTERM or SIGINT.

Exit status: 0 written, or stopped; 1 written and the chains do not verify, or failed; 2 wrong settings.
"""

from __future__ import annotations

import asyncio
import sys

from services.common.clock import system_clock
from services.common.errors import ConfigurationError, FatalError, TransientError
from services.common.logging import configure_logging, get_logger
from services.common.settings import KafkaSettings, LogSettings, PostgresSettings, read_settings
from services.reporter.build import build_report
from services.reporter.evidence import TOPIC, configured_evidence
from services.reporter.period import last_days, month
from services.reporter.serve import serve
from services.reporter.settings import ReporterSettings, VerifySettings

log = get_logger(__name__)


def run(postgres: PostgresSettings, settings: ReporterSettings) -> int:
    """Builds the report of the period that the settings name."""
    period = last_days(system_clock()) if settings.period is None else month(settings.period)
    folder = settings.folder / f"piperoll-report-{period.label.replace(' ', '-')}"
    verifying = read_settings(VerifySettings)
    kafka = read_settings(KafkaSettings) if TOPIC in verifying.places else None
    evidence = configured_evidence(verifying, kafka)
    built = asyncio.run(build_report(postgres.dsn, period, folder, evidence=evidence))
    good = built.verification.good
    log.info("report_built", verdict=built.verdict, good=good, files=[str(path) for path in built.paths])
    return 0 if good else 1


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
