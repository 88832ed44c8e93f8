"""What happens to a batch of audit.enriched where a model is asked: its events by risk, highest first, a few a request.

Commit points, in order. (1) Every request is on audit.system before its answer is used. (2) Every event has either its
annotation on audit.annotations or is named as passed by on audit.system, acknowledged by the broker. (3) The range is
completed in the ledger, and Faust commits it within a second. A crash before that repeats the batch: the model is
asked again, and the writer drops annotations and own events whose name it knows. While a model is away, batches wait
here and behind them in Kafka: nothing waits for the annotator.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from schemas.enrichment import RISKS
from services.common.ai.asker import Asker, Exchange
from services.common.ai.outcome import WAITS, Failure
from services.common.clock import Clock
from services.common.errors import FatalError
from services.common.logging import get_logger
from services.enricher.annotations import annotation, inference_event, passed_by_event, reply
from services.enricher.annotator_metrics import AnnotatorMetrics
from services.enricher.intake import Intake
from services.enricher.outbox import Outbox
from services.enricher.questions import Form, Reading, Subject
from services.enricher.transport import Batch

log = get_logger(__name__)

BATCHES_IN_HAND = 2
TOO_OLD = "too-old"
INVALID = "invalid"
PassedBy = list[tuple[Subject, str]]
"""Events without a reading, and why."""


class Model(NamedTuple):
    """Whom to ask and how: the model's name, the form of questions, events a request, requests at the same time."""

    name: str
    form: Form
    events_per_request: int
    concurrency: int


class Recorder:
    """Puts every request to the model on audit.system."""

    def __init__(self, outbox: Outbox, metrics: AnnotatorMetrics, prompt_version: str, clock: Clock) -> None:
        self._outbox = outbox
        self._metrics = metrics
        self._prompt_version = prompt_version
        self._clock = clock

    async def __call__(self, exchange: Exchange) -> None:
        await self._outbox.own_event(inference_event(exchange, self._prompt_version, self._clock()))
        self._metrics.requests.labels(exchange.outcome).inc()
        self._metrics.tokens.labels("in").inc(exchange.tokens_in)
        self._metrics.tokens.labels("out").inc(exchange.tokens_out)


class Annotator:
    """Takes batches one after another, works on up to two, and calls `fail` on the first error that is not the
    model's: nothing is completed after it."""

    def __init__(
        self,
        model: Model,
        asker: Asker,
        intake: Intake,
        outbox: Outbox,
        metrics: AnnotatorMetrics,
        *,
        complete: Callable[[Batch], None],
        fail: Callable[[BaseException], None],
        clock: Clock,
    ) -> None:
        self._model = model
        self._asker = asker
        self._intake = intake
        self._outbox = outbox
        self._metrics = metrics
        self._complete = complete
        self._fail = fail
        self._clock = clock
        self._slots = asyncio.Semaphore(BATCHES_IN_HAND)
        self._requests = asyncio.Semaphore(model.concurrency)
        self._working: set[asyncio.Task[None]] = set()
        self._failed = False
        self._closed = False

    async def take(self, batch: Batch, done: Callable[[], Any]) -> None:
        """Begins with the batch as soon as one of the two in hand is done. Raises FatalError after a failure."""
        await self._slots.acquire()
        if self._closed:
            await asyncio.Event().wait()  # stopping: the batch is read again by whoever comes next
        if self._failed:
            raise FatalError("an earlier batch failed: nothing more is annotated")
        task = asyncio.create_task(self._finish(batch, done))
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def settle(self) -> None:
        """Takes no more batches and leaves those in hand, which are read again: an answer may be long in coming."""
        self._closed = True
        for task in self._working:
            task.cancel()
        if self._working:
            await asyncio.wait(set(self._working))

    async def _finish(self, batch: Batch, done: Callable[[], Any]) -> None:
        try:
            await self._annotate(batch)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, the process must not go on
            self._failed = True
            self._fail(error)
        else:
            self._complete(batch)
            self._metrics.batches.inc()
            done()
        finally:
            self._slots.release()

    async def _annotate(self, batch: Batch) -> None:
        sorted_out = self._intake.sort_out(batch)
        by_risk = sorted(sorted_out.subjects, key=_risk, reverse=True)
        size = self._model.events_per_request
        parts = [by_risk[at : at + size] for at in range(0, len(by_risk), size)]
        passed: PassedBy = [(subject, TOO_OLD) for subject in sorted_out.too_old]
        for found in await asyncio.gather(*map(self._part, parts)):
            passed += found
        await self._pass_by(passed)
        self._intake.done(sorted_out.ranges)

    async def _part(self, part: Sequence[Subject]) -> PassedBy:
        """Asks about some events together, then one by one about those that got no reading: so one event that makes
        a model refuse, or talk of nothing else, costs no other its reading. Returns those that stay without."""
        missing = await self._ask(part)
        if len(part) == 1 or not missing or missing[0][1] in (*WAITS, "budget"):
            return missing
        return [found for subject, _ in missing for found in await self._ask([subject])]

    async def _ask(self, part: Sequence[Subject]) -> PassedBy:
        """One question; sends the annotations that come of it, and returns the events that have none."""
        async with self._requests:
            question = self._model.form.ask(part)
            result = await self._asker.ask(question.messages, self._model.form.name, self._model.form.schema)
        if isinstance(result, Failure):
            log.warning("ai_gave_no_reading", events=len(part), why=result.kind, advice=result.advice)
            return [(subject, result.kind) for subject in part]
        readings = question.read(result.text)
        await self._send([(part[number], reading) for number, reading in sorted(readings.items())])
        missing = [subject for number, subject in enumerate(part) if number not in readings]
        if missing:
            log.warning("ai_readings_invalid", events=len(part), without=len(missing))
        return [(subject, INVALID) for subject in missing]

    async def _send(self, found: Sequence[tuple[Subject, Reading]]) -> None:
        name, version = self._model.name, self._model.form.version
        by_partition: dict[int, list[bytes]] = defaultdict(list)
        for subject, reading in found:
            by_partition[subject.header.partition].append(annotation(subject, reading, name, version))
        for partition, made in by_partition.items():
            await self._outbox.annotations(partition, made)
        waited_for = [(s.token, reply(s, reading, name)) for s, reading in found if s.token]
        await self._outbox.replies(waited_for)

    async def _pass_by(self, passed: PassedBy) -> None:
        """Names on audit.system, by log and reason, which events stay with what rules say."""
        offsets: dict[tuple[bytes, int, str], list[int]] = defaultdict(list)
        for subject, reason in passed:
            header = subject.header
            offsets[header.topic_id, header.partition, reason].append(header.offset)
        name = (self._model.name, self._model.form.version)
        for (topic_id, partition, reason), found in offsets.items():
            await self._outbox.own_event(
                passed_by_event(topic_id, partition, found, reason, name, self._clock())
            )
            self._metrics.passed_by.labels(reason).inc(len(found))
            log.warning("events_passed_by", partition=partition, events=len(found), why=reason)
        waited_for = [(s.token, reply(s, None, self._model.name)) for s, _ in passed if s.token]
        await self._outbox.replies(waited_for)


def _risk(subject: Subject) -> int:
    return RISKS.index(subject.document.risk)
