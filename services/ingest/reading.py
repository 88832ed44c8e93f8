"""From a request's body to the records for audit.events. Pure: no I/O, no clock; only ids are made here.

The short form becomes a structured CloudEvent. No time is put in where the sender gives none: the event's time is then
the mapped field of its data, else Kafka's timestamp (design page 3), and a repeat with the same id has the same bytes,
so that it is found to be a duplicate and not a conflict.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple
from uuid import uuid4

from schemas.catalog import Catalog
from schemas.cloudevents import (
    AttributeProblem,
    InvalidCloudEventError,
    StrictEvent,
    check_nonempty,
    check_source,
    check_time,
    read_binary,
    read_structured,
    structured_from_short,
)
from schemas.events import is_reserved
from schemas.strict_json import BadJsonError, strict_json
from schemas.topics import KEY_HEADER
from services.ingest.keys import ApiKey
from services.ingest.media import Form
from services.ingest.problems import ProblemError, too_large
from services.ingest.split import split_array, split_lines

HTTP_SOURCE = "http"
"""Source of a short form that names none, where no key names its sender."""
ERRORS_SHOWN = 100
_BREATH = 256
"""Events of a batch between two turns of the event loop."""
_REPLY_ROOM = 64
_STRUCTURED = ("content-type", b"application/cloudevents+json; charset=UTF-8")
_SHORT_MEMBERS = frozenset({"event_type", "event_data", "id", "source", "time", "subject", "backfill"})
_SHORT_CHECKS = {
    "event_type": check_nonempty,
    "id": check_nonempty,
    "source": check_source,
    "time": check_time,
    "subject": check_nonempty,
    "backfill": check_nonempty,
}


class Record(NamedTuple):
    """One message for audit.events, and the id that its sender knows it by."""

    id: str
    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]]

    @property
    def size(self) -> int:
        """Bytes of the body as it is committed to (schemas.commitment.encode_body), with room for a reply token."""
        size = 12 + _REPLY_ROOM + len(self.key) + len(self.value or b"")
        return size + sum(7 + len(name) + len(content) for name, content in self.headers)


class Request(NamedTuple):
    """A request whose form is known and whose body has come. Header names are lower case."""

    form: Form
    headers: Sequence[tuple[bytes, bytes]]
    content_type: str | None
    idempotency_key: str | None
    key: ApiKey | None
    body: bytes


class Reader:
    """Reads requests by a catalogue and limits."""

    def __init__(self, catalog: Catalog, *, event_limit: int, batch_events: int) -> None:
        self._catalog = catalog
        self._event_limit = event_limit
        self._batch_events = batch_events

    def one(self, request: Request) -> Record:
        """The record of a request with one event. Raises ProblemError."""
        try:
            if request.form is Form.BINARY:
                return self._binary(request)
            raw = strict_json(request.body)
            structured = request.form is Form.STRUCTURED or (type(raw) is dict and "specversion" in raw)
            return self._json(request, request.body.strip(b" \t\r\n"), raw, structured)
        except BadJsonError as error:
            raise _bad_json(error) from None
        except InvalidCloudEventError as error:
            raise _invalid(error.problems) from None

    async def many(self, request: Request) -> list[Record]:
        """The records of a request with several events, all or none: raises ProblemError, which names each that is
        wrong by its index or line."""
        if request.idempotency_key is not None:
            raise ProblemError(
                HTTPStatus.BAD_REQUEST,
                "idempotency-key",
                "Idempotency-Key is for one event: in a batch the id of each event makes it repeatable. Leave it out.",
            )
        where, pieces = _pieces(request)
        records: list[Record] = []
        errors: list[dict[str, Any]] = []
        count = 0
        try:
            for place, piece in pieces:
                count += 1
                if count > self._batch_events:
                    raise self._too_many()
                if count % _BREATH == 0:
                    await asyncio.sleep(0)
                try:
                    records.append(self._piece(request, piece))
                except ProblemError as problem:
                    errors.append(item_error(where, place, problem))
        except BadJsonError as error:
            raise _bad_json(error) from None
        if errors:
            raise wrong_items(errors, count)
        if not count and where == "line":
            raise _bad_json(BadJsonError("the body holds no event", 1, 1))
        return records

    def _piece(self, request: Request, piece: bytes) -> Record:
        if len(piece) > self._event_limit:
            raise too_large("The event", self._event_limit, "EVENT_MAX_BYTES")
        try:
            raw = strict_json(piece)
            structured = request.form is Form.BATCH or (type(raw) is dict and "specversion" in raw)
            return self._json(request, piece, raw, structured)
        except BadJsonError as error:
            raise _bad_json(error) from None
        except InvalidCloudEventError as error:
            raise _invalid(error.problems) from None

    def _json(self, request: Request, text: bytes, raw: Any, structured: bool) -> Record:
        if structured:
            event = read_structured(raw)
            _same_id(request.idempotency_key, event.id)
            return self._record(request, event, text, [_STRUCTURED])
        short = _checked_short(raw)
        event = _named(request, short)
        value = structured_from_short(text, identifier=event.id, source=event.source, short=short)
        return self._record(request, event, value, [_STRUCTURED])

    def _binary(self, request: Request) -> Record:
        event, headers = read_binary(request.headers, request.content_type, request.body)
        _same_id(request.idempotency_key, event.id)
        if request.content_type is not None:
            headers.append(("content-type", request.content_type.encode("utf-8")))
        empty = event.data is None and not request.body
        return self._record(request, event, None if empty else request.body, headers)

    def _record(
        self, request: Request, event: StrictEvent, value: bytes | None, headers: list[tuple[str, bytes]]
    ) -> Record:
        _may_send(request.key, event.source)
        missing = self._catalog.missing(event.type, event.data)
        if missing:
            raise _incomplete(event.type, missing)
        if request.key is not None:
            headers = [*headers, (KEY_HEADER, request.key.name.encode())]
        record = Record(event.id, event.partition.encode("utf-8"), value, headers)
        if record.size > self._event_limit:
            raise too_large("The event with its key and headers", self._event_limit, "EVENT_MAX_BYTES")
        return record

    def _too_many(self) -> ProblemError:
        return ProblemError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "too-many-events",
            f"The request has more than {self._batch_events} events. Nothing was recorded: send fewer at once, or "
            "raise INGEST_BATCH_MAX_EVENTS here.",
            limit=self._batch_events,
        )


def places(request: Request) -> list[dict[str, int]]:
    """Where each event of a request that was read stands in it: its index or line; nothing for a single event."""
    if not request.form.many:
        return [{}]
    where, pieces = _pieces(request)
    return [{where: place} for place, _piece in pieces]


def _pieces(request: Request) -> tuple[str, Iterator[tuple[int, bytes]]]:
    if request.form is Form.BATCH:
        return "index", split_array(request.body)
    return "line", split_lines(request.body)


def _checked_short(raw: Any) -> Mapping[str, Any]:
    """A short form whose members are right. Raises ProblemError (422 missing or unknown ones) and
    InvalidCloudEventError."""
    members: Mapping[str, Any] = raw if type(raw) is dict else {}
    missing = [name for name in ("event_type", "event_data") if name not in members]
    if missing:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "missing-fields",
            f"The event has no {' and no '.join(missing)}: send "
            '{"event_type": "…", "event_data": {…}}, or a CloudEvent with specversion, id, source and type.',
            missing=missing,
        )
    unknown = sorted(members.keys() - _SHORT_MEMBERS)
    if unknown:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "unknown-fields",
            "Beside event_type and event_data only id, source, time, subject and backfill are taken: put the rest "
            "in event_data, or send a CloudEvent.",
            unknown=[_cut(name) for name in unknown[:ERRORS_SHOWN]],
        )
    problems = [
        AttributeProblem(name, detail)
        for name, check in _SHORT_CHECKS.items()
        if (name == "event_type" or members.get(name) is not None) and (detail := check(members[name]))
    ]
    if problems:
        raise InvalidCloudEventError(problems)
    return members


def _named(request: Request, short: Mapping[str, Any]) -> StrictEvent:
    """Id and source that the sender did not give."""
    identifier = short.get("id")
    if identifier is None:
        identifier = request.idempotency_key or str(uuid4())
    _same_id(request.idempotency_key, identifier)
    source = short.get("source")
    if source is None:
        source = HTTP_SOURCE if request.key is None else request.key.name
    return StrictEvent(source, identifier, short["event_type"], source, short["event_data"])


def _same_id(idempotency_key: str | None, identifier: str) -> None:
    if idempotency_key is not None and idempotency_key != identifier:
        raise ProblemError(
            HTTPStatus.BAD_REQUEST,
            "idempotency-key",
            "Idempotency-Key and the event's id differ: the id is what makes an event repeatable. Send one of them.",
        )


def _may_send(key: ApiKey | None, source: str) -> None:
    if is_reserved(source):
        raise ProblemError(
            HTTPStatus.FORBIDDEN,
            "reserved-source",
            "Sources piperoll/… are Piperoll's own: name your application in the source.",
        )
    if key is not None and not key.may_use(source):
        raise ProblemError(
            HTTPStatus.FORBIDDEN,
            "source-not-allowed",
            f"The key {key.name} may not send as this source: use one that its patterns allow, or another key.",
            patterns=list(key.sources),
        )


def _incomplete(event_type: str, missing: list[str]) -> ProblemError:
    return ProblemError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "missing-fields",
        f"An event of type {event_type} needs {', '.join(missing)} in its data (event catalogue). Nothing was "
        "recorded: add what is missing and send it again.",
        event_type=event_type,
        missing=missing,
    )


def _bad_json(error: BadJsonError) -> ProblemError:
    place = "" if error.line is None else f" at line {error.line}, column {error.column}"
    members: dict[str, Any] = {} if error.line is None else {"line": error.line, "column": error.column}
    return ProblemError(
        HTTPStatus.BAD_REQUEST, "bad-json", f"The body is not JSON{place}: {error}.", **members
    )


def _invalid(problems: list[AttributeProblem]) -> ProblemError:
    shown = problems[:ERRORS_SHOWN]
    missing = [problem.attribute for problem in problems if problem.missing]
    only_missing = len(missing) == len(problems)
    members: dict[str, Any] = {"missing": missing} if missing else {}
    return ProblemError(
        HTTPStatus.UNPROCESSABLE_ENTITY if only_missing else HTTPStatus.BAD_REQUEST,
        "missing-fields" if only_missing else "invalid-event",
        "; ".join(f"{_cut(problem.attribute)} {problem.detail}" for problem in shown[:5]) + ".",
        errors=[{"attribute": _cut(problem.attribute), "detail": problem.detail} for problem in shown],
        **members,
    )


def _cut(name: str) -> str:
    return name[:100].encode("utf-8", "replace").decode()


def item_error(where: str, place: int, problem: ProblemError) -> dict[str, Any]:
    """What is wrong with one event of several; `where` is `index` or `line`."""
    members = {name: value for name, value in problem.members.items() if name != "line"}
    return {where: place, "status": int(problem.status), "detail": problem.detail} | members


def wrong_items(errors: list[dict[str, Any]], count: int) -> ProblemError:
    """The problem of a request in which these of `count` events are wrong."""
    statuses = {error["status"] for error in errors}
    return ProblemError(
        statuses.pop() if len(statuses) == 1 else HTTPStatus.BAD_REQUEST,
        "invalid-batch",
        f"{len(errors)} of {count} events are wrong, so none was recorded: correct what `errors` names (the first "
        f"{ERRORS_SHOWN}) and send all again.",
        errors=errors[:ERRORS_SHOWN],
        wrong=len(errors),
    )
