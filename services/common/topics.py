"""`python -m services.common.topics`: creates the topics that are missing, as a step before the services start.

Settings by environment as everywhere. Exit status: 0 all topics are there, 1 no broker answered, 2 wrong settings.
"""

from __future__ import annotations

import sys
import time

from services.common.errors import ConfigurationError, TransientError
from services.common.kafka import create_topics
from services.common.logging import configure_logging, get_logger
from services.common.settings import KafkaSettings, LogSettings, read_settings

log = get_logger(__name__)
PATIENCE_S = 60.0


def create_patiently(settings: KafkaSettings, patience_s: float = PATIENCE_S) -> list[str]:
    """As `create_topics`, but a broker that does not answer yet is asked again. Raises TransientError."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return create_topics(settings)
        except TransientError as error:
            if time.monotonic() > deadline:
                raise
            log.warning("broker_awaited", error=str(error))
            time.sleep(1)


def main() -> int:
    """The exit status."""
    try:
        configure_logging(read_settings(LogSettings), "topics")
        created = create_patiently(read_settings(KafkaSettings))
    except ConfigurationError as error:
        log.critical("settings_wrong", error=str(error))
        return 2
    except TransientError as error:
        log.critical("broker_not_reached", error=str(error))
        return 1
    log.info("topics_created", topics=created)
    return 0


if __name__ == "__main__":
    sys.exit(main())
