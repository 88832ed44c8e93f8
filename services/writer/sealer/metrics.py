"""The sealer's metrics: the closed list, a line of meaning each."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class SealerMetrics:
    """All metrics of one sealer, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.seals = Counter("piperoll_sealer_seals", "Seals signed", registry=registry)
        self.records = Counter(
            "piperoll_sealer_records", "Records taken into a seal, by whether they were compared", ["compared"],
            registry=registry,
        )  # fmt: skip
        self.refused = Gauge(
            "piperoll_sealer_refused_chains",
            "Chains that are not signed any further, since they contradict what was signed or what the topic holds",
            registry=registry,
        )
        self.waiting = Gauge(
            "piperoll_sealer_waiting_records",
            "Records appended and not yet sealed",
            ["chain"],
            registry=registry,
        )
        self.sealed_at = Gauge(
            "piperoll_sealer_last_seal_timestamp_seconds", "When the last seal was signed", registry=registry
        )
        self.published_at = Gauge(
            "piperoll_sealer_last_publication_timestamp_seconds",
            "When a target last took a checkpoint",
            ["target"],
            registry=registry,
        )
        self.failures = Counter(
            "piperoll_sealer_failures",
            "Rounds and publications given up and tried again",
            ["where"],
            registry=registry,
        )
        self.round_seconds = Histogram(
            "piperoll_sealer_round_seconds",
            "Seconds from the look at the heads to the published checkpoint",
            registry=registry,
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
        )
        self.alerts = Counter("piperoll_sealer_alerts", "Alerts said, by name", ["name"], registry=registry)
