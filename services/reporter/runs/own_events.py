"""What the reporter and its commands put on record: own events on audit.system."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from getpass import getuser
from typing import Any

import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaError

from services.common.broker_access import check_access, why_refused
from services.common.errors import TransientError
from services.common.kafka_client import client_options
from services.common.settings import KafkaSettings
from services.reporter.runs.rows import Edition, Run
from services.reporter.runs.targets import shown

SOURCE = "piperoll/report"
EDITION = "piperoll.report.edition"
FILES = "piperoll.report.files"
SIGNATURE = "piperoll.report.signature"
DELIVERY = "piperoll.report.delivery"
READ = "piperoll.read"
_BOOTSTRAP_MS = 5000
_TIMEOUT_S = 30


def own_event(
    kind: str, identifier: str, data: Mapping[str, Any], now_us: int, source: str = SOURCE
) -> bytes:
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


def edition_event(edition: Edition, run: Run, now_us: int) -> bytes:
    """That an edition was made, with its hash: from now on a changed one can be told from it."""
    cut = edition.inputs.cut
    data = {
        "edition": edition.id,
        "schedule": run.schedule,
        "period": {
            "label": run.label,
            "start": run.span.start.isoformat(),
            "end": run.span.end.isoformat(),
            "time_zone": run.time_zone,
        },
        "number": edition.number,
        "replaces": edition.replaces,
        "why": edition.why,
        "by": edition.made_by,
        "sha256": edition.sha256,
        "bytes": edition.size,
        "cut": {"seal_no": cut.seal_no, "root": cut.root, "time_us": cut.time_us},
        "good": edition.good,
        "verdict": edition.verdict,
    }
    return own_event(EDITION, f"report-edition:{edition.id}", data, now_us)


def delivery_event(row: Mapping[str, Any], now_us: int) -> bytes:
    """What became of a delivery: to whom, how, what the other side said. Its id follows from the Message-ID, and what became of it."""
    data = {
        name: row[name]
        for name in (
            "edition",
            "kind",
            "recipient",
            "role",
            "detail",
            "formats",
            "message_id",
            "state",
            "attempts",
        )
    }
    data |= {
        "schedule": row["schedule"],
        "period": row["label"],
        "target": shown(row["target"]),
        "sent": None if row["sent_at"] is None else row["sent_at"].isoformat(),
        "receipt": json.loads(row["receipt"] or "null"),
        "error": row["last_error"],
    }
    return own_event(
        DELIVERY, f"report-delivery:{row['message_id'].strip('<>')}:{row['state']}", data, now_us
    )


class SystemTopic:
    """audit.system, for what must be durable before anything else happens. Its methods block."""

    def __init__(self, settings: KafkaSettings, client_id: str = "piperoll-report") -> None:
        self.settings = settings
        self._client_id = client_id
        self._producer: KafkaProducer | None = None

    def record(self, events: Sequence[bytes]) -> None:
        """Durable when it returns. Raises TransientError, and ConfigurationError where the broker does not let us in."""
        if self._producer is None:
            self._producer = self._connect()
        try:
            sent = [self._producer.send(self.settings.topics.system, value=event) for event in events]
            self._producer.flush(timeout=_TIMEOUT_S)
            for future in sent:
                future.get(timeout=_TIMEOUT_S)
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


def user() -> str:
    """The name of the user at this machine, as the system gives it."""
    try:
        return getuser()
    except (KeyError, OSError):
        return "unknown"
