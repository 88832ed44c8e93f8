"""The closed list of the reporter's metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class ReporterMetrics:
    """Each metric with its line of meaning; one registry for each process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.leading = Gauge(
            "piperoll_reporter_leading", "1 while this reporter leads.", registry=self.registry
        )
        self.alerts = Counter(
            "piperoll_reporter_alerts", "New alerts, by severity.", ["severity"], registry=self.registry
        )
        self.passed = Counter(
            "piperoll_reporter_passed", "Messages passed over, by reason.", ["reason"], registry=self.registry
        )
        self.deliveries = Counter(
            "piperoll_reporter_deliveries",
            "Digests by target and outcome.",
            ["target", "outcome"],
            registry=self.registry,
        )
