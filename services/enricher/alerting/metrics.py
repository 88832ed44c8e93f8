"""The closed list of the alerter's metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class AlerterMetrics:
    """Each metric with its line of meaning; one registry for each process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.counts = Counter(
            "piperoll_alerter_counts", "Messages of audit.counts taken.", registry=self.registry
        )
        self.unreadable = Counter(
            "piperoll_alerter_unreadable", "Messages of audit.counts left out.", registry=self.registry
        )
        self.alerts = Counter(
            "piperoll_alerter_alerts", "Alerts said, by name.", ["name"], registry=self.registry
        )
        self.entries = Gauge(
            "piperoll_alerter_state_entries", "Windows and sources remembered.", registry=self.registry
        )
        self.horizon = Gauge(
            "piperoll_alerter_horizon_seconds",
            "Time up to which all events are counted, seconds since 1970.",
            registry=self.registry,
        )
