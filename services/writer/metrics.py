"""The writer's metrics: the closed list, a line of meaning each."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from schemas.record import Kind

_KINDS = {kind.value: kind.name.lower() for kind in Kind}


class Metrics:
    """All metrics of one writer, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.records = Counter(
            "piperoll_writer_records", "Records committed, by kind", ["kind"], registry=registry
        )
        self.dropped = Counter(
            "piperoll_writer_dropped_messages",
            "Messages that append nothing, by reason",
            ["reason"],
            registry=registry,
        )
        self.batches = Counter("piperoll_writer_batches", "Transactions committed", registry=registry)
        self.failures = Counter(
            "piperoll_writer_failed_batches",
            "Transactions given up and tried again, by reason",
            ["reason"],
            registry=registry,
        )
        self.commit_seconds = Histogram(
            "piperoll_writer_commit_seconds",
            "Seconds from the begin to the commit of a transaction",
            registry=registry,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
        )
        self.alerts = Counter("piperoll_writer_alerts", "Alerts said, by name", ["name"], registry=registry)
        self.lag = Gauge(
            "piperoll_writer_lag_offsets",
            "Offsets of the read topic that are not yet committed",
            ["topic", "partition"],
            registry=registry,
        )
        self.head = Gauge(
            "piperoll_writer_head_seq",
            "Sequence number that a chain's next record will have",
            ["chain"],
            registry=registry,
        )
        self.mighty = Gauge(
            "piperoll_writer_may_change_records",
            "1 where the writer's role could change what is recorded (superuser, owner, grants), else 0",
            registry=registry,
        )
        self.partitions = Gauge(
            "piperoll_writer_partitions", "Partitions whose chains this writer has", registry=registry
        )

    def count_records(self, kinds: dict[int, int]) -> None:
        """Adds committed records by their kind numbers."""
        for kind, count in kinds.items():
            self.records.labels(_KINDS.get(kind, str(kind))).inc(count)
