"""The closed list of the enricher's metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram


class Metrics:
    """Each metric with its line of meaning; one registry for each process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.events = Counter(
            "piperoll_enricher_events", "Events enriched, by kind.", ["kind"], registry=self.registry
        )
        self.batches = Counter("piperoll_enricher_batches", "Batches acknowledged.", registry=self.registry)
        self.seconds = Histogram(
            "piperoll_enricher_batch_seconds",
            "Seconds from the fetch of a batch to its acknowledgement.",
            registry=self.registry,
        )
        self.replies_failed = Counter(
            "piperoll_enricher_replies_failed", "Replies that could not be sent.", registry=self.registry
        )
