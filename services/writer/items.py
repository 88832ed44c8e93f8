"""Consumed messages made ready for linking.

audit.enriched brings the enricher's header. audit.annotations and audit.system bring none: the writer makes one, with
its own salts, in which source offset and read offset are the same and `prev` is the offset read before.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec

from schemas.commitment import ABSENT_HASH, about_event, event_id, headers_fit, identity_hash, producer_id
from schemas.enrichment import FLAG_RESET, Enrichment, Header, clean, decode_header
from schemas.events import is_reserved, parse_time
from schemas.own_events import order_type, read_order
from schemas.record import ABSENT, Kind
from schemas.reviews import REVIEW, is_review, read_review
from schemas.topics import PIPEROLL_HEADER
from services.writer.chain import RandomBytes, Target
from services.writer.found import Item, Message

_UNFIT = Item(Message(0, 0, 0, None, None, ()), None, (), fault="more or longer headers than a body can hold")


def enriched_item(message: Message, partition: int) -> Item:
    """A message of audit.enriched with its header read, or with the fault that makes it unusable."""
    headers = message.headers
    raw = headers[-1][1] if headers and headers[-1][0] == PIPEROLL_HEADER else None
    if raw is None:
        return Item(message, None, (), fault="no piperoll header")
    try:
        header = decode_header(raw)
    except ValueError as error:
        return Item(message, None, (), fault=str(error))
    fault = _fault(header, partition)
    if fault:
        return Item(message, None, (), fault=fault)
    if len(headers) == 1:
        return Item(message, header, ())
    return Item(message, header, headers[:-1]) if headers_fit(headers) else _UNFIT._replace(message=message)


def _fault(header: Header, partition: int) -> str:
    if header.kind not in (Kind.EVENT, Kind.POISON):
        return f"kind {header.kind} in the header"
    if header.partition != partition:
        return f"partition {header.partition} in the header"
    if not -1 <= header.prev < header.offset < _OFFSET_LIMIT:
        return f"offset {header.offset} after {header.prev} in the header"
    return ""


_OFFSET_LIMIT = 2**62
"""No real offset comes near it; a forged one must not overflow what is counted from it."""


class _Annotation(msgspec.Struct):
    topic_id: str
    partition: int
    offset: int
    model: str = ""
    prompt_version: str = ""
    run: str = ""


class _OwnEvent(msgspec.Struct):
    source: str
    id: str
    specversion: str
    time: str | None = None


class OwnReader:
    """Makes items of one partition of audit.annotations or audit.system. `prev`: the offset read before, -1 for
    none; `reset`: the position asked for no longer existed, so what is missing before the first message expired."""

    def __init__(
        self, topic_id: bytes, partition: int, prev: int, *, reset: bool, random: RandomBytes = os.urandom
    ) -> None:
        self._topic_id = topic_id
        self._partition = partition
        self._prev = prev
        self._flags = FLAG_RESET if reset else 0
        self._random = random

    def annotation(self, message: Message) -> Item:
        """An annotation, whose name is (topic id, partition, offset, model, prompt version, run)."""
        if not headers_fit(message.headers):
            return _UNFIT._replace(message=message)
        try:
            said, target = _read_annotation(message.value or b"")
        except (ValueError, msgspec.MsgspecError, RecursionError) as error:
            return self._poison(message, f"not an annotation: {error}")
        name = msgspec.json.encode(_name(said)).decode()
        header = self._header(message, Kind.ANNOTATION, identity_hash("annotation", name))._replace(
            event_id=about_event(*target)
        )
        return Item(message, header, message.headers, target)

    def own_event(self, message: Message) -> Item:
        """One of Piperoll's own events, whose name is its id."""
        if not headers_fit(message.headers):
            return _UNFIT._replace(message=message)
        try:
            event = _read_own_event(message.value or b"")
        except (ValueError, msgspec.MsgspecError, RecursionError) as error:
            return self._poison(message, f"not an own event: {error}")
        salt = self._random(32)
        header = self._header(message, Kind.OWN_EVENT, identity_hash("own-event", event.id))._replace(
            payload_salt=salt,
            event_id=event_id(salt, event.source, event.id),
            producer_id=producer_id(event.source),
            event_time_us=_time_us(event.time),
        )
        item = Item(message, header, message.headers)
        order = order_type(message.value or b"")
        if order:
            return _with_order(item, order)
        return _with_target(item) if is_review(message.value or b"") else item

    def _poison(self, message: Message, reason: str) -> Item:
        said = Enrichment(
            "poison",
            "",
            "",
            "",
            "unreadable message",
            "high",
            ["poison:own-topic"],
            reason=clean(reason, 500),
        )
        header = self._header(message, Kind.POISON, 0)
        return Item(message, header._replace(enrichment=msgspec.json.encode(said)), message.headers)

    def _header(self, message: Message, kind: int, identity: int) -> Header:
        prev, self._prev = self._prev, message.offset
        flags, self._flags = self._flags, 0
        return Header(
            flags=flags,
            kind=kind,
            topic_id=self._topic_id,
            partition=self._partition,
            offset=message.offset,
            prev=prev,
            kafka_ts_ms=message.timestamp,
            kafka_ts_type=message.timestamp_type,
            event_time_us=ABSENT,
            producer_seq=0,
            producer_id=bytes(16),
            event_id=ABSENT_HASH,
            identity_hash=identity,
            payload_salt=self._random(32),
            enrichment_salt=self._random(32),
            payload_commitment=ABSENT_HASH,
            enrichment=b"",
        )


def _with_order(item: Item, order: str) -> Item:
    """An order is carried out only as it must be written; else it is recorded, has no effect, and an alert says so."""
    try:
        read_order(item.message.value or b"")
    except ValueError as error:
        return item._replace(flaw=f"{order}: {error}")
    return item._replace(order=order)


def _with_target(item: Item) -> Item:
    """A review counts only as it must be written; else it is recorded, has no effect, and an alert says so."""
    try:
        place = read_review(item.message.value or b"").event.place
    except ValueError as error:
        return item._replace(flaw=f"{REVIEW}: {error}")
    return item._replace(target=Target(*place))


def _name(said: _Annotation) -> list[Any]:
    return [said.topic_id.lower(), said.partition, said.offset, said.model, said.prompt_version, said.run]


def _time_us(text: str | None) -> int:
    try:
        return ABSENT if text is None else parse_time(text)[0]
    except ValueError:
        return ABSENT


def _read_annotation(value: bytes) -> tuple[_Annotation, Target]:
    said = msgspec.json.decode(value, type=_Annotation)
    target = Target(bytes.fromhex(said.topic_id), said.partition, said.offset)
    if len(target.topic_id) != 16 or not 0 <= target.partition < 2**31 or not 0 <= target.offset < 2**63:
        raise ValueError("topic_id, partition or offset out of range")
    return said, target


def _read_own_event(value: bytes) -> _OwnEvent:
    event = msgspec.json.decode(value, type=_OwnEvent)
    if not is_reserved(event.source):
        raise ValueError(f"source {event.source[:80]!r} is not ours")
    return event
