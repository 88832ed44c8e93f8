"""Settings of the enricher."""

from __future__ import annotations

from pydantic import Field

from services.common.settings import SettingsGroup


class EnricherSettings(SettingsGroup):
    """How much the enricher holds at once, and how long it waits for Kafka."""

    batch_events: int = Field(
        1000, alias="ENRICHER_BATCH_EVENTS", ge=1, description="events of one batch at most"
    )
    batch_bytes: int = Field(
        4 * 1024 * 1024, alias="ENRICHER_BATCH_BYTES", ge=1024, description="bytes of one batch at most"
    )
    fetch_bytes: int = Field(
        16 * 1024 * 1024,
        alias="ENRICHER_FETCH_BYTES",
        ge=1024,
        description="bytes of one fetch over all partitions",
    )
    batches_in_flight: int = Field(
        4,
        alias="ENRICHER_BATCHES_IN_FLIGHT",
        ge=1,
        description="batches sent and not yet acknowledged by the broker",
    )
    ack_timeout_s: float = Field(
        60.0,
        alias="ENRICHER_ACK_TIMEOUT",
        gt=0,
        description="seconds without the broker's ack until the process ends",
    )
    commit_interval_s: float = Field(1.0, alias="ENRICHER_COMMIT_INTERVAL", gt=0, description="seconds")
