"""Says the alerts of a service: to audit.alerts, as events of our own to audit.system, and in the log.

Durable when `say` returns. The ids follow from what the alerts are about: said again, they are the same alerts.
"""

from __future__ import annotations

from collections.abc import Sequence

from kafka import KafkaProducer
from kafka.errors import KafkaError
from prometheus_client import Counter

from services.common.alerts import Alert, as_message, as_own_event
from services.common.broker_access import check_access
from services.common.clock import Clock, system_clock
from services.common.errors import TransientError
from services.common.kafka import client_options
from services.common.logging import get_logger
from services.common.settings import KafkaSettings

log = get_logger(__name__)
SOURCE = "piperoll/writer"
BOOTSTRAP_MS = 5000
_TIMEOUT_S = 30


class Announcer:
    """A small producer for what is rare and must not be lost. Its methods block."""

    def __init__(
        self,
        settings: KafkaSettings,
        counted: Counter,
        *,
        source: str = SOURCE,
        clock: Clock = system_clock,
    ) -> None:
        self._topics = settings.topics
        self._counted = counted
        self._source = source
        self._clock = clock
        check_access(settings)  # the first of the writer's clients: wrong settings are said here
        try:
            self._producer = KafkaProducer(
                **client_options(settings, f"{source.replace('/', '-')}-alerts"),
                acks="all",
                enable_idempotence=True,
                bootstrap_timeout_ms=BOOTSTRAP_MS,
            )
        except KafkaError as error:
            raise TransientError(f"Kafka cannot now: {error!r}") from error

    def say(self, alerts: Sequence[Alert]) -> None:
        """Sends all of them and waits for the acknowledgements. Raises TransientError."""
        now_us = self._clock()
        try:
            sent = []
            for alert in alerts:
                report = log.critical if alert.severity == "critical" else log.error
                report(alert.name, alert=alert.id, text=alert.text, **alert.facts)
                sent.append(
                    self._producer.send(self._topics.alerts, value=as_message(alert, self._source, now_us))
                )
                sent.append(
                    self._producer.send(self._topics.system, value=as_own_event(alert, self._source, now_us))
                )
            self._producer.flush(timeout=_TIMEOUT_S)
            for future in sent:
                future.get(timeout=_TIMEOUT_S)
        except KafkaError as error:
            raise TransientError(f"alerts could not be sent: {error!r}") from error
        for alert in alerts:
            self._counted.labels(alert.name).inc()

    def close(self) -> None:
        """Closes the producer; everything said is acknowledged already."""
        self._producer.close(timeout=5)
