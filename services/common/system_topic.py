"""audit.system, for own events that must be durable before anything else happens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaError

from services.common.broker_access import check_access, why_refused
from services.common.errors import TransientError
from services.common.kafka_client import client_options
from services.common.settings import KafkaSettings

READ = "piperoll.read"
"""Somebody read something of the log: `by`, `what`, `range`, `count`, `request`."""
READ_SOURCE = "piperoll/read"
_BOOTSTRAP_MS = 5000


def own_event(kind: str, identifier: str, data: Mapping[str, Any], now_us: int, source: str) -> bytes:
    """The CloudEvent. The writer drops a repeat of its id, so it may be said again."""
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": identifier,
            "source": source,
            "type": kind,
            "time": datetime.fromtimestamp(now_us / 1_000_000, UTC).isoformat(),
            "datacontenttype": "application/json",
            "data": dict(data),
        }
    )


class SystemTopic:
    """audit.system, for what must be durable before anything else happens. Its methods block."""

    def __init__(
        self, settings: KafkaSettings, client_id: str = "piperoll-report", timeout_s: float = 30
    ) -> None:
        self.settings = settings
        self._client_id = client_id
        self._timeout_s = timeout_s
        self._producer: KafkaProducer | None = None

    def record(self, events: Sequence[bytes]) -> None:
        """Durable when it returns. Raises TransientError, and ConfigurationError where the broker does not let us in."""
        if self._producer is None:
            self._producer = self._connect()
        try:
            sent = [self._producer.send(self.settings.topics.system, value=event) for event in events]
            self._producer.flush(timeout=self._timeout_s)
            for future in sent:
                future.get(timeout=self._timeout_s)
        except KafkaError as error:
            self.close()
            raise TransientError(f"audit.system does not take what is to be recorded: {error!r}") from error

    def _connect(self) -> KafkaProducer:
        if not check_access(self.settings):
            raise TransientError(
                f"no broker listens at KAFKA_BOOTSTRAP_SERVERS={self.settings.bootstrap_servers}"
            )
        try:
            return KafkaProducer(
                **client_options(self.settings, self._client_id),
                acks="all",
                enable_idempotence=True,
                bootstrap_timeout_ms=_BOOTSTRAP_MS,
            )
        except KafkaError as error:
            raise why_refused(self.settings, error) from error

    def close(self) -> None:
        """Closes the producer; another `record` opens one anew."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close(timeout=5)
