"""What happens to a batch of audit.enriched where a model is asked: shapes once, grave events by themselves.

Works out of order in a bounded window of events, over all partitions. Commit points, in order. (1) Every request is on
audit.system, and a shape's reading on audit.shapes, before it is used. (2) Every event of a batch has either its annotation
on audit.annotations or is named as passed by on audit.system, acknowledged by the broker. (3) The batch is completed in the
ledger; Faust commits up to the lowest batch still to do, within a second. A crash before that repeats what lies above: shapes
are known by then, and the writer drops annotations and own events whose name it knows. While a model is away, events wait
here and behind them in Kafka: nothing waits for the annotator.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from services.common.clock import Clock
from services.common.errors import FatalError
from services.common.logging import get_logger
from services.enricher.agenda import Agenda, EventsToRead, Held, Item, Work
from services.enricher.annotations import SOURCE, By, passed_by_event, reply
from services.enricher.annotator_metrics import AnnotatorMetrics
from services.enricher.intake import How, Intake
from services.enricher.kinds import Kinds
from services.enricher.outbox import Outbox
from services.enricher.questions import Subject
from services.enricher.raises import Raises
from services.enricher.reader import Reader
from services.enricher.transport import Batch

log = get_logger(__name__)

TOO_OLD = "too-old"
NO_SHAPE = "no-shared-reading"


class Limits(NamedTuple):
    """Events of one request, requests at the same time, events in hand; seconds that events wait for company."""

    events_per_request: int
    concurrency: int
    window: int
    linger_s: float


class Annotator:
    """Takes batches while fewer than `window` events are in hand, and calls `fail` on the first error that is not the
    model's: nothing is completed after it."""

    def __init__(
        self,
        limits: Limits,
        reader: Reader,
        kinds: Kinds,
        intake: Intake,
        raises: Raises,
        outbox: Outbox,
        metrics: AnnotatorMetrics,
        *,
        by: By,
        complete: Callable[[Batch], None],
        fail: Callable[[BaseException], None],
        clock: Clock,
    ) -> None:
        self._limits = limits
        self._reader = reader
        self._kinds = kinds
        self._intake = intake
        self._raises = raises
        self._outbox = outbox
        self._metrics = metrics
        self._by = by
        self._complete = complete
        self._fail = fail
        self._clock = clock
        self._agenda = Agenda(limits.events_per_request, limits.linger_s)
        self._in_hand = 0
        self._room = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = self._failed = self._closed = False

    async def take(self, batch: Batch, done: Callable[[], Any]) -> None:
        """Begins with the batch as soon as there is room in the window. Raises FatalError after a failure."""
        async with self._room:
            await self._room.wait_for(
                lambda: self._in_hand < self._limits.window or self._closed or self._failed
            )
        if self._closed:
            await asyncio.Event().wait()  # stopping: the batch is read again by whoever comes next
        if self._failed:
            raise FatalError("an earlier batch failed: nothing more is annotated")
        if not self._started:
            self._started = True
            for _ in range(self._limits.concurrency):
                self._run(self._work())
        wanted, too_old, ranges = self._intake.sort_out(batch)
        # One more than there are: the batch itself, so that it is not done before all of it is planned.
        held = Held(batch, ranges, done, len(wanted) + 1, [(subject, TOO_OLD) for subject in too_old])
        self._in_hand += len(wanted)
        for subject, how in wanted:
            self._plan(Item(subject, held), how)
        await self._agenda.announce()
        self._run(self._settle_batch(held))

    async def settle(self) -> None:
        """Takes no more batches and leaves those in hand, which are read again: an answer may be long in coming."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        """As a task; the first error ends the process."""

        async def guarded() -> None:
            try:
                await work
            except BaseException as error:
                if isinstance(error, asyncio.CancelledError) and self._closed:
                    raise
                self._failed = True
                self._fail(error)
                async with self._room:
                    self._room.notify_all()

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _plan(self, item: Item, how: How) -> None:
        if how != "shape":
            self._agenda.add_event(item)
            return
        shape, _ = self._kinds.shape(item.subject)
        if shape is None:
            item.held.passed.append((item.subject, NO_SHAPE))
            item.held.left -= 1
            self._in_hand -= 1
        else:
            new = self._reader.is_new(item.subject.document.source)
            self._agenda.add_shape(shape, item, new=new)

    async def _work(self) -> None:
        while True:
            await self._do(await self._agenda.next())

    async def _say(self) -> None:
        """What is due to be told of the readings so far."""
        for alert in self._raises.due():
            await self._outbox.alert(alert, SOURCE, self._clock())
        if (event := self._raises.agreement.due(SOURCE, self._by.model)) is not None:
            await self._outbox.own_event(event)

    async def _do(self, work: Work) -> None:
        if isinstance(work, EventsToRead):
            items = work.items
            for item, why in await self._reader.events(items):
                item.held.passed.append((item.subject, why))
        else:
            found = await self._reader.shape(work)
            items = self._agenda.close_shape(work)
            if isinstance(found, str):
                for item in items:
                    item.held.passed.append((item.subject, found))
            else:
                await self._reader.fill(found, items)
        async with self._room:
            self._in_hand -= len(items)
            self._room.notify_all()
        for item in items:
            await self._settle_batch(item.held)

    async def _settle_batch(self, held: Held) -> None:
        """One more of its events is done; after the last one the batch is."""
        held.left -= 1
        if held.left or self._failed:
            return
        await self._pass_by(held.passed)
        await self._say()
        self._intake.done(held.ranges)
        self._complete(held.batch)
        self._metrics.batches.inc()
        held.done()

    async def _pass_by(self, passed: list[tuple[Subject, str]]) -> None:
        """Names on audit.system, by log and reason, which events stay with what rules say."""
        offsets: dict[tuple[bytes, int, str], list[int]] = defaultdict(list)
        for subject, reason in passed:
            header = subject.header
            offsets[header.topic_id, header.partition, reason].append(header.offset)
        for (topic_id, partition, reason), found in offsets.items():
            event = passed_by_event(topic_id, partition, found, reason, self._by, self._clock())
            await self._outbox.own_event(event)
            self._metrics.passed_by.labels(reason).inc(len(found))
            log.warning("events_passed_by", partition=partition, events=len(found), why=reason)
        waited_for = [(s.token, reply(s, None, self._by.model)) for s, _ in passed if s.token]
        await self._outbox.replies(waited_for)
