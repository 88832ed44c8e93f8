"""The closed list of the annotator's metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter


class AnnotatorMetrics:
    """Each metric with its line of meaning; one registry for each process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.annotations = Counter(
            "piperoll_annotator_annotations", "Annotations acknowledged.", registry=self.registry
        )
        self.requests = Counter(
            "piperoll_annotator_requests",
            "Requests to the model, by outcome.",
            ["outcome"],
            registry=self.registry,
        )
        self.tokens = Counter(
            "piperoll_annotator_tokens",
            "Tokens as the server counts them.",
            ["direction"],
            registry=self.registry,
        )
        self.dollars = Counter(
            "piperoll_annotator_dollars",
            "Dollars by the price file, 0 without a price.",
            registry=self.registry,
        )
        self.passed_by = Counter(
            "piperoll_annotator_passed_by",
            "Events without a reading, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.not_asked = Counter(
            "piperoll_annotator_not_asked",
            "Messages about which no model is to be asked: shape-known, not-pending, poison, repeated, unreadable.",
            ["reason"],
            registry=self.registry,
        )
        self.batches = Counter("piperoll_annotator_batches", "Batches completed.", registry=self.registry)
        self.replies_failed = Counter(
            "piperoll_annotator_replies_failed", "Replies that could not be sent.", registry=self.registry
        )
