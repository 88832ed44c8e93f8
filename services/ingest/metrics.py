"""The closed list of ingest's metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """Each metric with its line of meaning; one registry for each process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "piperoll_ingest_requests",
            "Requests answered, by path and status.",
            ["path", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "piperoll_ingest_request_seconds",
            "Seconds from a request's headers to its answer, by path.",
            ["path"],
            registry=self.registry,
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 60),
        )
        self.events = Counter(
            "piperoll_ingest_events",
            "Events handed to Kafka, by outcome: durable, unknown (no answer in time), not-recorded.",
            ["outcome"],
            registry=self.registry,
        )
        self.replies = Counter(
            "piperoll_ingest_replies",
            "Requests that waited for a reply, by what came: final, pending, none, no-room (too many wait).",
            ["result"],
            registry=self.registry,
        )
        self.clients_gone = Counter(
            "piperoll_ingest_clients_gone",
            "Requests whose client left before the body was whole.",
            registry=self.registry,
        )
        self.reconnects = Counter(
            "piperoll_ingest_producer_reconnects",
            "Producers given up because the broker did not acknowledge in time.",
            registry=self.registry,
        )
        self.encrypted = Counter(
            "piperoll_ingest_encrypted_values",
            "Values encrypted under the keys of their subjects.",
            registry=self.registry,
        )
        self.certificate_until = Gauge(
            "piperoll_ingest_certificate_not_after_timestamp_seconds",
            "When the certificate of HTTPS expires, Unix time; 0 without one.",
            registry=self.registry,
        )
        self.in_flight_requests = Gauge(
            "piperoll_ingest_in_flight_requests", "Requests that are not yet durable.", registry=self.registry
        )
        self.in_flight_bytes = Gauge(
            "piperoll_ingest_in_flight_bytes", "Bytes of their bodies.", registry=self.registry
        )
        self.waiting = Gauge(
            "piperoll_ingest_waiting", "Requests that wait for a reply.", registry=self.registry
        )
