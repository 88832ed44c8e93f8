"""What the two ways in do: read, publish, answer once the events are durable."""

from __future__ import annotations

import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from schemas.topics import REPLY_HEADER
from services.common.settings import KafkaSettings
from services.common.shredding.door import Door
from services.ingest.access import Access
from services.ingest.answers import Answer, json_answer
from services.ingest.body import Receive, read_body
from services.ingest.delivery import Delivery, Outcome
from services.ingest.encrypting import FieldDoor
from services.ingest.gate import Gate, Place
from services.ingest.head import Head
from services.ingest.media import Form, form_of, refuse_encoding
from services.ingest.metrics import Metrics
from services.ingest.problems import ProblemError, unavailable
from services.ingest.publisher import BrokerAwayError, Publisher
from services.ingest.reading import Reader, Record, Request, places
from services.ingest.receipt import receipt
from services.ingest.replies import Replies, Reply, Waiting
from services.ingest.settings import IngestSettings

_RETRY_AFTER = 5
_TOO_LARGE = (
    "An event is too large for the broker: the one named in `not_recorded`, the first where there are more. Make it "
    "smaller, or raise max.message.bytes of the topic to EVENT_MAX_BYTES. Send all but the durable ones again with the "
    "ids given here: a repeat is recognised."
)


class Routes:
    """The handlers of POST /audit and POST /v1/events. Each raises ProblemError and ClientGoneError."""

    def __init__(
        self,
        settings: IngestSettings,
        kafka: KafkaSettings,
        *,
        access: Access,
        reader: Reader,
        publisher: Publisher,
        replies: Replies,
        metrics: Metrics,
        door: Door | None = None,
    ) -> None:
        self._settings = settings
        self._event_limit = kafka.event_limit
        self.access = access
        self.reader = reader
        self.publisher = publisher
        self.replies = replies
        self.metrics = metrics
        self.door = None if door is None else FieldDoor(door, kafka.event_limit, metrics)
        self.gate = Gate(settings.max_requests, settings.max_bytes)
        self.stopping = False

    async def audit(self, head: Head, receive: Receive) -> Answer:
        """One event; answers with the reply, at the time-out with what there is."""
        until, wants_receipt = time.monotonic() + head.wait, head.receipt
        waiting = self._expect(head.wait)
        try:
            with self.gate.enter() as place:
                request = await self._request(head, receive, place, many=False)
                record = await self._read_one(request)
                if waiting is not None:
                    record = record._replace(headers=[*record.headers, (REPLY_HEADER, waiting.token)])
                delivery = await self._publish(request, [record])
            # Durable from here on: whatever happens now, the answer is a 2xx.
            more = {"receipt": self._receipt(record, delivery)} if wants_receipt else {}
            if waiting is not None:
                reply, result = await waiting.reply(until - time.monotonic())
                self.metrics.replies.labels(result).inc()
                if reply is not None:
                    return json_answer(HTTPStatus.OK, _ok(record.id, reply) | more)
            return json_answer(HTTPStatus.ACCEPTED, {"status": "accepted", "id": record.id} | more)
        finally:
            if waiting is not None:
                self.replies.forget(waiting)

    async def events(self, head: Head, receive: Receive) -> Answer:
        """One event or many; answers with their ids."""
        with self.gate.enter() as place:
            request = await self._request(head, receive, place, many=True)
            records = await self._read_many(request) if request.form.many else [await self._read_one(request)]
            await self._publish(request, records)
        return json_answer(
            HTTPStatus.ACCEPTED, {"status": "accepted", "ids": [record.id for record in records]}
        )

    def _expect(self, seconds: float) -> Waiting | None:
        if seconds == 0 or self.stopping:
            return None
        waiting = self.replies.expect()
        if waiting is None:
            self.metrics.replies.labels("no-room").inc()
        return waiting

    async def _request(self, head: Head, receive: Receive, place: Place, *, many: bool) -> Request:
        """All that can be refused by the headers is refused before the body is read."""
        if self.stopping:
            raise unavailable("stopping", "This instance is ending: send it again, to another one.", 1)
        key = self.access.key_of(head.authorization, "ingest")
        refuse_encoding(head.encoding, many=many)
        content_type = head.content_type
        form = form_of(content_type, head.headers, many=many)
        if self.publisher.trouble is not None:
            raise _broker_away()
        body = await self._body(head, receive, place, form)
        return Request(form, head.headers, content_type, head.idempotency_key, key, body)

    async def _body(self, head: Head, receive: Receive, place: Place, form: Form) -> bytes:
        limit, setting = (
            (self._settings.batch_bytes, "INGEST_BATCH_MAX_BYTES")
            if form.many
            else (self._event_limit, "EVENT_MAX_BYTES")
        )
        return await read_body(
            receive,
            place,
            declared=head.content_length,
            limit=limit,
            setting=setting,
            seconds=self._settings.body_timeout,
        )

    async def _read_one(self, request: Request) -> Record:
        record = self.reader.one(request)
        return record if self.door is None else await self.door.one(record)

    async def _read_many(self, request: Request) -> list[Record]:
        records = await self.reader.many(request)
        return records if self.door is None else await self.door.many(records, places(request))

    def _receipt(self, record: Record, delivery: Delivery) -> dict[str, Any]:
        return receipt(record, delivery.results[0].value, self.publisher.topic_id())

    async def _publish(self, request: Request, records: Sequence[Record]) -> Delivery:
        """Returns once all records are durable. Raises ProblemError."""
        try:
            delivery = await self.publisher.publish(records)
        except BrokerAwayError:
            raise _broker_away() from None
        outcomes = delivery.outcomes()
        if any(outcome is not Outcome.DURABLE for outcome in outcomes):
            raise _not_durable(delivery, outcomes, places(request))
        return delivery


def _not_durable(delivery: Delivery, outcomes: list[Outcome], at: list[dict[str, int]]) -> ProblemError:
    """The problem that names every event by its place in the request and its id, given here where the sender gave
    none, so that it can be sent again under that id."""
    items: dict[str, list[dict[str, Any]]] = {outcome.replace("-", "_"): [] for outcome in Outcome}
    for record, outcome, place in zip(delivery.records, outcomes, at, strict=True):
        items[outcome.replace("-", "_")].append({**place, "id": record.id})
    if delivery.too_large:
        return ProblemError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", _TOO_LARGE, headers=None, **items
        )
    if items["unknown"]:
        detail = (
            "The broker did not acknowledge in time: the events named in `unknown` may or may not have been "
            "recorded. Send all but the durable ones again with the ids given here: a repeat is recognised."
        )
    else:
        detail = "The broker did not take the events named in `not_recorded`: send them again with the ids given here."
    return unavailable("not-durable", detail, _RETRY_AFTER, **items)


def _ok(identifier: str, reply: Reply) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "status": "ok",
        "id": identifier,
        "summary": reply.summary,
        "tags": reply.tags,
        "risk": reply.risk,
        "by": reply.by,
    }
    return answer | {"pending": True} if reply.pending else answer


def _broker_away() -> ProblemError:
    return unavailable(
        "broker-away",
        "Events cannot be recorded now, and nothing of this request was: send it again later. Whoever runs this "
        "finds the reason at /readyz and in the log.",
        _RETRY_AFTER,
    )
