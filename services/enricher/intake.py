"""Which messages of a batch a model is asked about, and which source offsets are behind us already."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Literal, NamedTuple

from schemas.record import Kind
from services.common.logging import get_logger
from services.enricher.annotator_metrics import AnnotatorMetrics
from services.enricher.ledger import Ledger, Range
from services.enricher.questions import Subject, subject_of
from services.enricher.raises import Raises
from services.enricher.readings import GRAVE
from services.enricher.transport import Batch

log = get_logger(__name__)

Log = tuple[bytes, int]
"""Topic id and partition of the source."""
How = Literal["grave", "sample", "shape"]
"""What is read: the event because of its risk, the event as a sample, or its shape."""


class Sorted(NamedTuple):
    """A batch, sorted out: what to ask about, events too old for it, and the source ranges to be completed."""

    wanted: list[tuple[Subject, How]]
    too_old: list[Subject]
    ranges: list[Range]


class Intake:
    """Asked about is every event that says an AI reading is to come, and a sample of those that have the reading of their
    shape. A redelivery by the enricher of what is already done is dropped here, in memory only: after a restart it is
    asked about again, and the writer drops the repeat. `again`: every event is read, whatever is known of it."""

    def __init__(
        self,
        metrics: AnnotatorMetrics,
        raises: Raises,
        *,
        sample: float,
        max_age_ms: float,
        now_ms: Callable[[], float],
        again: bool = False,
    ) -> None:
        self._metrics = metrics
        self._raises = raises
        self._sample = int(sample * 2**32)
        self._again = again
        self._max_age_ms = max_age_ms
        self._now_ms = now_ms
        self._ledger = Ledger()
        self._passed: dict[Log, int] = {}
        self._told = False

    def sort_out(self, batch: Batch) -> Sorted:
        """Never raises: a message that the enricher did not write is counted and logged (the writer alerts)."""
        oldest = self._now_ms() - self._max_age_ms
        wanted: list[tuple[Subject, How]] = []
        too_old: list[Subject] = []
        for record in batch.records:
            found = self._wanted(batch, record)
            if isinstance(found, str):
                self._metrics.not_asked.labels(found).inc()
            elif record.timestamp is not None and 0 <= record.timestamp < oldest:
                too_old.append(found[0])
            else:
                wanted.append(found)
        return Sorted(wanted, too_old, self._register([*(subject for subject, _ in wanted), *too_old], batch))

    def done(self, ranges: list[Range]) -> None:
        """All events of these ranges are annotated or named as passed by."""
        for finished in ranges:
            self._ledger.complete(finished)

    def _wanted(self, batch: Batch, record: Any) -> tuple[Subject, How] | str:
        """The event, or why no model is asked about it."""
        try:
            subject = subject_of(record.value, record.headers)
        except ValueError as error:
            log.warning(
                "message_unreadable", partition=batch.partition, offset=record.offset, error=str(error)
            )
            return "unreadable"
        header, document = subject.header, subject.document
        if header.kind != Kind.EVENT:
            return "poison"
        if header.offset < self._behind((header.topic_id, header.partition)):
            return "repeated"
        self._raises.seen(document)
        if document.pending or self._again:
            return subject, "grave" if document.risk in GRAVE else "shape"
        if document.ai is None:
            self._tell_of_rules_only()
            return "not-pending"
        return (subject, "sample") if self._is_sampled(subject) else "shape-known"

    def _is_sampled(self, subject: Subject) -> bool:
        """By the event's salt, which nobody outside knows beforehand; the same after a restart."""
        digest = blake2b(subject.header.payload_salt, digest_size=4).digest()
        return int.from_bytes(digest) < self._sample

    def _tell_of_rules_only(self) -> None:
        """Once: it may be history from before there was a key, or an enricher that does not know of us."""
        if not self._told:
            self._told = True
            log.info("events_by_rules_alone", fix="if these are new, start the enricher with AI_ENABLED=on")

    def _behind(self, log_: Log) -> int:
        position = self._ledger.position(log_)
        if position is not None:
            self._passed[log_] = max(position, self._passed.get(log_, 0))
        return self._passed.get(log_, 0)

    def _register(self, subjects: list[Subject], batch: Batch) -> list[Range]:
        offsets: dict[Log, list[int]] = {}
        for subject in subjects:
            header = subject.header
            offsets.setdefault((header.topic_id, header.partition), []).append(header.offset)
        return [
            self._ledger.register(log_, min(found), max(found), batch.range.since)
            for log_, found in offsets.items()
        ]
