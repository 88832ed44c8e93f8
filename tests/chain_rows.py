"""A valid chain as rows, made through the schemas alone: what verification, reports and vectors are tested on."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

import msgspec

from schemas import commitment, record
from schemas.enrichment import Enrichment, Who
from schemas.record import Kind, Record
from schemas.verification.contents import Content
from schemas.verification.links import ChainInfo, Head, Row

START_US = 1_790_812_800_000_000
"""2026-10-01T00:00:00Z."""


@dataclass
class ChainRows:
    """Grows record by record; `rows`, `contents`, `head` and `info` are what the tables would hold."""

    chain_no: int = 1
    topic: str = "audit.events"
    partition: int = 0
    seed: int = 1
    first_offset: int = 0
    previous: dict[str, Any] | None = None
    previous_no: int | None = None
    epoch: int = 1
    step_us: int = 1_000_000
    topic_id: bytes = b""
    rows: list[Row] = field(default_factory=list)
    contents: list[Content] = field(default_factory=list)
    original_salts: dict[int, bytes] = field(default_factory=dict)
    targets: list[tuple[tuple[bytes, int, int], int, int]] = field(default_factory=list)
    """(topic id, partition, source offset) that an annotation is about, its seq and append time."""

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.chain_id = self.random.randbytes(16)
        self.topic_id = self.topic_id or random.Random(self.topic).randbytes(16)
        self.next_offset = self.first_offset
        self.last_hash = record.GENESIS_PREV
        self.closed = False
        self.count = 0
        self.own(
            Kind.GENESIS,
            {
                "format": "audit-rec/v1",
                "cluster_id": "cluster",
                "topic": self.topic,
                "topic_id": self.topic_id.hex(),
                "partition": self.partition,
                "first_offset": self.first_offset,
                "read_topic": self.topic.replace("events", "enriched"),
                "read_topic_id": bytes(16).hex(),
                "previous": self.previous,
            },
        )

    @property
    def info(self) -> ChainInfo:
        return ChainInfo(
            self.chain_no,
            self.chain_id,
            self.topic,
            self.topic_id,
            self.partition,
            "cluster",
            self.previous_no,
        )

    @property
    def head(self) -> Head:
        return Head(self.count, self.last_hash, self.next_offset, self.epoch, self.closed)

    def append(self, kind: int, body: bytes | None, enrich: bytes | None = None, **fields: Any) -> Row:
        """One record with its payload row; `fields` override the leaf's."""
        salt = fields.pop("salt", None) or self.random.randbytes(32)
        enrich_salt = None if enrich is None else self.random.randbytes(32)
        identity = fields.pop("identity", None)
        seq = self.count
        made = Record(kind, self.chain_id, seq, self.last_hash, self.epoch, START_US + seq * self.step_us)
        if body is not None:
            made = made._replace(payload_commitment=commitment.payload_commitment(salt, body))
        if enrich is not None and enrich_salt is not None:
            made = made._replace(enrichment_commitment=commitment.enrichment_commitment(enrich_salt, enrich))
        made = made._replace(**fields)
        leaf = record.encode(made)
        self.last_hash = record.record_hash(leaf)
        nullable = [None if n == record.ABSENT else n for n in (made.source_offset, made.event_time_us)]
        row = Row(seq, kind, nullable[0], made.appended_us, nullable[1], identity, self.last_hash, leaf)
        self.rows.append(row)
        self.count += 1
        self.contents.append(Content(seq, made.appended_us, salt, body, enrich_salt, enrich))
        return row

    def event(self, data: Any = None, *, time_us: int | None = None, **enrichment: Any) -> Row:
        """An event as a structured CloudEvent; `enrichment` overrides fields of its enrichment, `message` gives the
        Kafka message itself (offset, timestamp, timestamp_type, key, value, headers)."""
        message = enrichment.pop("message", None)
        offset = self.next_offset
        shown = enrichment.pop("shown_source", None)
        sequence = enrichment.pop("sequence", 0)
        at = START_US + len(self.rows) * self.step_us if time_us is None else time_us
        said = {
            "form": "structured",
            "source": "app/shop",
            "id": f"{self.chain_no}-{offset}",
            "type": "user_login",
            "summary": f"user {offset} logged in",
            "risk": "informational",
            "tags": ["auth:login"],
            "who": Who(f"user-{offset % 7}", "user_login", "shop", "192.0.2.7", "success"),
        } | enrichment
        raw = {"specversion": "1.0", "source": said["source"], "id": said["id"], "type": said["type"]}
        value = json.dumps(raw | {"data": {"user_id": offset} if data is None else data}).encode()
        body = commitment.encode_body(b"key", value, [("trace", b"t-1")])
        kafka_ms = at // 1000
        if message is not None:
            body = commitment.encode_body(message.key, message.value, message.headers)
            kafka_ms, offset = message.timestamp, message.offset
        salt = self.random.randbytes(32)
        self.next_offset = offset + 1
        return self.append(
            Kind.EVENT,
            body,
            msgspec.json.encode(Enrichment(**(said | ({} if shown is None else {"source": shown})))),
            salt=salt,
            identity=commitment.identity_hash(said["source"], said["id"]),
            source_offset=offset,
            kafka_ts_ms=kafka_ms,
            kafka_ts_type=0,
            event_time_us=at,
            event_id=commitment.event_id(salt, said["source"], said["id"]),
            producer_id=commitment.producer_id(said["source"]),
            producer_seq=sequence,
        )

    def events(self, count: int) -> ChainRows:
        for _ in range(count):
            self.event()
        return self

    def poison(self, value: bytes = b"\xff not JSON", reason: str = "not UTF-8 JSON") -> Row:
        said = Enrichment(
            "poison", "", "", "", "not readable", "medium", ["poison:json"], reason=reason, time_from="kafka"
        )
        offset, self.next_offset = self.next_offset, self.next_offset + 1
        return self.append(
            Kind.POISON,
            commitment.encode_body(None, value, []),
            msgspec.json.encode(said),
            source_offset=offset,
            kafka_ts_ms=START_US // 1000,
            kafka_ts_type=0,
            event_time_us=START_US + len(self.rows) * self.step_us,
        )

    def withheld(self, length: int = 2_000_000) -> Row:
        """Over the size limit: a commitment without a body."""
        said = Enrichment(
            "poison", "", "", "", "too large", "medium", ["poison:size"], reason="too large", length=length
        )
        offset, self.next_offset = self.next_offset, self.next_offset + 1
        return self.append(
            Kind.POISON,
            None,
            msgspec.json.encode(said),
            source_offset=offset,
            payload_commitment=self.random.randbytes(32),
        )

    def duplicate(self, first_seq: int, *, tags: tuple[str, ...] = (), time_us: int | None = None) -> Row:
        offset, self.next_offset = self.next_offset, self.next_offset + 1
        first, body = self.rows[first_seq], self.contents[first_seq].body
        original = self.random.randbytes(32)
        self.original_salts[len(self.rows)] = original
        document = {
            "first_chain_id": self.chain_id.hex(),
            "first_seq": first_seq,
            "payload_commitment": commitment.payload_commitment(original, body).hex(),
        } | ({"tags": list(tags)} if tags else {})
        return self.own(
            Kind.DUPLICATE,
            document,
            source_offset=offset,
            identity=first.identity_hash,
            event_time_us=time_us or first.event_time_us or record.ABSENT,
        )

    def skip(self, count: int, reason: str = "not-delivered") -> Row:
        first, self.next_offset = self.next_offset, self.next_offset + count
        document = {"first": first, "last": self.next_offset - 1, "reason": reason}
        return self.own(Kind.SKIP, document, source_offset=first)

    def anchor(self, checkpoint: bytes) -> Row:
        return self.own(Kind.TIME_ANCHOR, {"checkpoint": checkpoint.decode(), "timestamp": None})

    def close(self, next_chain_id: bytes, why: str = "topic-recreated") -> Row:
        self.closed = True
        document = {"why": why, "next_chain_id": next_chain_id.hex(), "new_topic_id": bytes(16).hex()}
        return self.own(Kind.CLOSE, document)

    def annotation(
        self, topic_id: bytes = bytes(16), partition: int = 0, offset: int = 0, **said: Any
    ) -> Row:
        name = [topic_id.hex(), partition, offset, "small-model", "1", ""]
        keys = ("topic_id", "partition", "offset", "model", "prompt_version", "run")
        rest = {"summary": "said later", "tags": ["ai:read"], "risk": "high", "by": "small-model"}
        at, self.next_offset = self.next_offset, self.next_offset + 1
        identity = commitment.identity_hash("annotation", json.dumps(name, separators=(",", ":")))
        document = dict(zip(keys, name, strict=True)) | rest | said
        self.targets.append(((topic_id, partition, offset), self.count, START_US + self.count * self.step_us))
        return self.own(Kind.ANNOTATION, document, source_offset=at, identity=identity)

    def own_event(self, **said: Any) -> Row:
        at, self.next_offset = self.next_offset, self.next_offset + 1
        document = {
            "specversion": "1.0",
            "id": f"own-{at}",
            "source": "piperoll/writer",
            "type": "alert",
        } | said
        salt = self.random.randbytes(32)
        return self.own(
            Kind.OWN_EVENT,
            document,
            salt=salt,
            source_offset=at,
            identity=commitment.identity_hash("own-event", document["id"]),
            event_id=commitment.event_id(salt, document["source"], document["id"]),
            producer_id=commitment.producer_id(document["source"]),
        )

    def own(self, kind: int, document: Any, **fields: Any) -> Row:
        value = json.dumps(document, separators=(",", ":")).encode()
        return self.append(kind, commitment.encode_body(None, value, []), **fields)
