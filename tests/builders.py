"""Messages of audit.enriched as the enricher makes them, built by hand, so that the writer is tested on its own."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import uuid4

import msgspec

from schemas.commitment import ABSENT_HASH, event_id, identity_hash, producer_id
from schemas.enrichment import FLAG_RESET, FLAG_WITHHELD, PREV_NONE, Enrichment, Header, Risk, encode_header
from schemas.record import ABSENT, Kind
from schemas.topics import PIPEROLL_HEADER

TIME_MS = 1_790_000_000_000


class Message(NamedTuple):
    """One Kafka message as a consumer would hand it over; the fields that it has in common with kafka-python's."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    offset: int = 0
    timestamp: int = TIME_MS
    timestamp_type: int = 0


@dataclass
class Log:
    """One partition of audit.events under one topic id: makes the enriched messages of its offsets."""

    topic_id: bytes = field(default_factory=lambda: os.urandom(16))
    partition: int = 0
    time_ms: int = TIME_MS

    def event(
        self,
        offset: int,
        prev: int | None = None,
        *,
        source: str = "/apps/test",
        identifier: str | None = None,
        value: bytes | None = None,
        event_type: str = "data_export",
        risk: Risk = "medium",
        kind: int = Kind.EVENT,
        reset: bool = False,
        headers: tuple[tuple[str, bytes | None], ...] = (),
        key: bytes | None = b"key",
        enrichment: bytes | None = None,
        event_time_us: int | None = None,
        kafka_ts_ms: int | None = None,
        commitment: bytes | None = None,
    ) -> Message:
        """The event of `offset`, fetched after `prev` (default: the offset before)."""
        identifier = f"id-{offset}" if identifier is None else identifier
        if value is None:
            value = structured(source, identifier, event_type, offset)
        salt, enrichment_salt = os.urandom(32), os.urandom(32)
        if enrichment is None:
            enrichment = msgspec.json.encode(
                Enrichment(
                    "structured", source, identifier, event_type, f"event {offset}", risk, ["test:event"]
                )
            )
        header = Header(
            flags=(FLAG_RESET if reset else 0) | (FLAG_WITHHELD if commitment is not None else 0),
            kind=kind,
            topic_id=self.topic_id,
            partition=self.partition,
            offset=offset,
            prev=offset - 1 if prev is None else prev,
            kafka_ts_ms=self.time_ms + offset if kafka_ts_ms is None else kafka_ts_ms,
            kafka_ts_type=0,
            event_time_us=(self.time_ms + offset) * 1000 if event_time_us is None else event_time_us,
            producer_seq=0,
            producer_id=producer_id(source) if kind == Kind.EVENT else bytes(16),
            event_id=event_id(salt, source, identifier) if kind == Kind.EVENT else ABSENT_HASH,
            identity_hash=identity_hash(source, identifier) if kind == Kind.EVENT else 0,
            payload_salt=salt,
            enrichment_salt=enrichment_salt,
            payload_commitment=ABSENT_HASH if commitment is None else commitment,
            enrichment=enrichment,
        )
        return Message(
            key, value if commitment is None else None, [*headers, (PIPEROLL_HEADER, encode_header(header))]
        )

    def poison(
        self, offset: int, prev: int | None = None, *, value: bytes = b"\xff\0", reason: str = "not JSON"
    ) -> Message:
        """A message that the enricher could not take."""
        enrichment = msgspec.json.encode(
            Enrichment("poison", "", "", "", "unreadable message", "high", ["poison:json"], reason=reason)
        )
        return self.event(
            offset, prev, value=value, kind=Kind.POISON, enrichment=enrichment, event_time_us=ABSENT
        )

    def withheld(self, offset: int, prev: int | None = None, *, commitment: bytes) -> Message:
        """A message over the size limit."""
        enrichment = msgspec.json.encode(
            Enrichment("poison", "", "", "", "too large", "high", ["poison:size"], reason="too large")
        )
        return self.event(
            offset,
            prev,
            kind=Kind.POISON,
            enrichment=enrichment,
            event_time_us=ABSENT,
            commitment=commitment,
        )


def structured(source: str, identifier: str, event_type: str, number: int, padding: int = 0) -> bytes:
    """A structured CloudEvent with `number` in its data, and `padding` bytes more."""
    event = {
        "specversion": "1.0",
        "id": identifier,
        "source": source,
        "type": event_type,
        "data": {"user_id": number, "dataset_id": "ds-99"} | ({"padding": "x" * padding} if padding else {}),
    }
    return json.dumps(event, separators=(",", ":")).encode()


def annotation(topic_id: bytes, partition: int, offset: int, **fields: object) -> bytes:
    """The value of a message of audit.annotations."""
    said = {
        "topic_id": topic_id.hex(),
        "partition": partition,
        "offset": offset,
        "model": "small-model",
        "prompt_version": "1",
        "run": "",
        "summary": "said later",
        "tags": ["ai:read"],
        "risk": "high",
        "by": "small-model",
    }
    return json.dumps(said | fields).encode()


def own_event(service: str = "enricher", event_type: str = "alert", identifier: str | None = None) -> bytes:
    """The value of a message of audit.system."""
    return json.dumps(
        {
            "specversion": "1.0",
            "id": identifier or str(uuid4()),
            "source": f"piperoll/{service}",
            "type": event_type,
            "data": {"text": "something happened"},
        }
    ).encode()


__all__ = ["PREV_NONE", "TIME_MS", "Log", "Message", "annotation", "own_event", "structured"]
