"""The month on its way: most of it through Kafka, some over HTTP, each message accounted for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any, NamedTuple, TypeVar

import httpx

from services.cli.declaring import declaration
from services.cli.demo_month.messages import Message
from services.cli.demo_month.month import DemoMonth, declare
from services.cli.outgoing import from_month
from services.cli.posting import Posted, open_client, patiently, post_all, why
from services.cli.producing import Outcome, open_producer, send_all
from services.common.errors import TransientError
from services.common.settings import KafkaSettings

REASON = "demonstration: a month that has passed"
T = TypeVar("T")


class Single(NamedTuple):
    """A POST /audit and its answer."""

    body: bytes
    status: int
    answer: dict[str, Any]


class Sending:
    """The two senders at work; `acknowledged` grows while they are."""

    def __init__(self, made: DemoMonth) -> None:
        self.through_kafka = [message for message in made.messages if message.route == "kafka"]
        self.in_batches = [message for message in made.messages if message.route == "batch"]
        self.outcomes: Future[list[Outcome]] | None = None
        self.posted: Future[Posted] | None = None
        self._counts = {"kafka": 0, "batch": 0}

    @property
    def acknowledged(self) -> int:
        return sum(self._counts.values())

    @property
    def done(self) -> bool:
        """Whether both have ended. Raises what ended one of them early."""
        ended = [future for future in (self.outcomes, self.posted) if future is not None and future.done()]
        for future in ended:
            future.result()
        return len(ended) == 2

    def count(self, way: str) -> Callable[[int], None]:
        def progress(number: int) -> None:
            self._counts[way] = number

        return progress


def declare_backfill(settings: KafkaSettings, made: DemoMonth) -> None:
    """The declaration, durably on audit.system before the first event. Raises TransientError."""
    with open_producer(settings, "piperoll-demo") as producer:
        said = send_all(
            producer, settings.topics.system, [declaration(made.declaration, declare(made, REASON))]
        )
    if isinstance(said[0], str):
        raise TransientError(f"the declaration of the back-fill was not acknowledged: {said[0]}")


def post_singles(url: str, made: DemoMonth) -> list[Single]:
    """The events that come one by one: each waits for what Piperoll makes of it."""
    with open_client(url) as client:
        return [_post(client, message) for message in made.messages if message.route == "audit"]


def _post(client: httpx.Client, message: Message) -> Single:
    headers = {"content-type": "application/json", "idempotency-key": message.id}
    answer = patiently(client, "/audit", message.value or b"", headers)
    if not answer.is_success:
        raise TransientError(f"POST /audit was refused: {why(answer)}")
    return Single(message.value or b"", answer.status_code, json.loads(answer.content))


@contextmanager
def sending(settings: KafkaSettings, url: str, made: DemoMonth) -> Iterator[Sending]:
    """Both senders, in threads of their own; leaving early makes them stop."""
    stop, work = Event(), Sending(made)

    def kafka() -> list[Outcome]:
        with open_producer(settings, "piperoll-demo") as producer:
            messages = from_month(_until(stop, work.through_kafka))
            return send_all(producer, settings.topics.events, messages, work.count("kafka"))

    def batches() -> Posted:
        with open_client(url) as client:
            bodies = (message.value or b"" for message in _until(stop, work.in_batches))
            return post_all(client, bodies, work.count("batch"))

    with ThreadPoolExecutor(max_workers=2) as pool:
        try:
            work.outcomes = pool.submit(kafka)
            work.posted = pool.submit(batches)
            yield work
        finally:
            stop.set()


def _until(stop: Event, items: Iterable[T]) -> Iterator[T]:
    for item in items:
        if stop.is_set():
            return
        yield item
