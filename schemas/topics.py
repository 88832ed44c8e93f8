"""The topics: names, partitions, retention and size limits (design page, section 1)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

EVENT_LIMIT = 1024 * 1024
"""Bytes of one event: key, value and headers together, as the default of `EVENT_MAX_BYTES`."""
ENRICHMENT_ALLOWANCE = 128 * 1024
"""Bytes by which audit.enriched and audit.dead-letters allow more than audit.events."""

REPLY_HEADER = "piperoll-reply"
"""Header of audit.events in which an ingest that waits puts its random token."""
REPLY_TOKEN_BYTES = 64
"""A longer token is nobody's: ingest makes tokens of 32 bytes."""
KEY_HEADER = "piperoll-key"
"""Header of audit.events in which ingest puts the name of the API key that sent the event. It belongs to the event's
body: committed to and kept like any header. It says as much as the topic's write access does: others that may write
to audit.events can set it too."""
PIPEROLL_HEADER = "piperoll"
"""The one header that the enricher adds, always the last of the message."""
REASON_HEADER = "piperoll-reason"
"""Header of audit.dead-letters: why the event could not be taken. It and the next are the last of the message."""
ORIGIN_HEADER = "piperoll-origin"
"""Header of audit.dead-letters: topic id in hex, partition and offset in audit.events, with slashes between."""
REPLAYS_HEADER = "piperoll-replays"
"""Header of audit.events on a dead letter that was sent again: the origin as above."""
BACKFILL = "backfill"
"""Extension attribute of a CloudEvent, member of a short form, and header of other messages: the id of the back-fill's
declaration, an own event."""
OWN_SOURCE_PREFIX = "piperoll/"
"""Sources that only Piperoll's own services may use."""


def reply_token(headers: Iterable[tuple[str, bytes | None]]) -> bytes | None:
    """The token of the ingest that waits for what becomes of a message, None if none does. Anybody who may write to
    audit.events sets headers: a reply must not grow with them."""
    for name, content in headers:
        if name == REPLY_HEADER:
            return content if content and len(content) <= REPLY_TOKEN_BYTES else None
    return None


class Topic(NamedTuple):
    """One topic: `partitions` 0 stands for the configured number P."""

    name: str
    partitions: int
    config: dict[str, str]


class Topics(NamedTuple):
    """The names of all topics under one prefix (`audit` unless TOPIC_PREFIX says otherwise)."""

    prefix: str = "audit"

    @property
    def events(self) -> str:
        return f"{self.prefix}.events"

    @property
    def enriched(self) -> str:
        return f"{self.prefix}.enriched"

    @property
    def annotations(self) -> str:
        return f"{self.prefix}.annotations"

    @property
    def system(self) -> str:
        return f"{self.prefix}.system"

    @property
    def shapes(self) -> str:
        return f"{self.prefix}.shapes"

    @property
    def dead_letters(self) -> str:
        return f"{self.prefix}.dead-letters"

    @property
    def replies(self) -> str:
        return f"{self.prefix}.replies"

    @property
    def alerts(self) -> str:
        return f"{self.prefix}.alerts"

    @property
    def counts(self) -> str:
        return f"{self.prefix}.counts"

    @property
    def alert_state(self) -> str:
        return f"{self.prefix}.alert-state"

    @property
    def checkpoints(self) -> str:
        return f"{self.prefix}.checkpoints"

    @property
    def ai_budget(self) -> str:
        return f"{self.prefix}.ai-budget"

    def group(self, service: str) -> str:
        """The consumer group of a service: `piperoll-enricher` under the default prefix."""
        return f"piperoll-{service}" if self.prefix == "audit" else f"{self.prefix}-{service}"

    def chained(self) -> tuple[str, str, str]:
        """The topics of which every partition is one chain."""
        return (self.enriched, self.annotations, self.system)

    def layout(self, event_limit: int = EVENT_LIMIT) -> list[Topic]:
        """All topics with partitions and configuration, as `piperoll topics` creates them.

        Topics are kept for 30 days (what the second look and `restore` read), replies for minutes; the state of the
        alerter is a changelog, compacted.
        """
        overhead = 4096  # batch and record framing
        kept = {"cleanup.policy": "delete", "retention.ms": str(30 * 24 * 3600 * 1000)}
        events = kept | {"max.message.bytes": str(event_limit + overhead)}
        enriched = kept | {"max.message.bytes": str(event_limit + ENRICHMENT_ALLOWANCE + overhead)}
        counts = kept | {"max.message.bytes": str(2 * 1024 * 1024)}
        minutes = {"cleanup.policy": "delete", "retention.ms": "600000", "segment.ms": "300000"}
        # A month and more, by one clock for all: the broker's.
        budget = {
            "cleanup.policy": "delete",
            "retention.ms": str(62 * 24 * 3600 * 1000),
            "message.timestamp.type": "LogAppendTime",
        }
        return [
            Topic(self.events, 0, events),
            Topic(self.enriched, 0, enriched),
            Topic(self.annotations, 0, kept),
            Topic(self.system, 1, kept),
            Topic(self.shapes, 1, {"cleanup.policy": "compact"}),
            Topic(self.dead_letters, 0, enriched),
            Topic(self.replies, 1, minutes),
            Topic(self.alerts, 1, kept),
            Topic(self.checkpoints, 1, kept),
            Topic(self.counts, 1, counts),
            Topic(self.alert_state, 1, {"cleanup.policy": "compact"}),
            Topic(self.ai_budget, 1, budget),
        ]
