"""A linker under test, and the records that it made, read back from their COPY rows."""

from __future__ import annotations

import json
import os
import struct
from typing import NamedTuple

from schemas.commitment import decode_body, encode_body, enrichment_commitment, payload_commitment
from schemas.record import ABSENT, Kind, Record, decode, record_hash
from services.writer.alert import Alert
from services.writer.batch import Linker
from services.writer.chain import Place
from services.writer.found import Found, Recorded
from services.writer.items import enriched_item
from services.writer.rows import PAYLOAD_PIECES
from tests.builders import Log, Message

OWN_KINDS = (Kind.GENESIS, Kind.CLOSE, Kind.SKIP, Kind.DUPLICATE)


class Payload(NamedTuple):
    """A row of audit.payload."""

    seq: int
    salt: bytes
    body: bytes | None
    enrich_salt: bytes | None
    enrich: bytes | None
    original_salt: bytes | None


def new_linker(read_topic_id: bytes, partition: int = 0, **options) -> Linker:
    """For audit.enriched unless options say otherwise."""
    return Linker(
        Place("cluster", "audit.events", partition, "audit.enriched"), read_topic_id, None, {}, **options
    )


def read_fields(row: bytes) -> list[bytes | None]:
    """The fields of a row of binary COPY."""
    [count] = struct.unpack_from(">h", row)
    at, fields = 2, []
    for _ in range(count):
        [length] = struct.unpack_from(">i", row, at)
        at += 4
        fields.append(None if length < 0 else row[at : at + length])
        at += max(length, 0)
    assert at == len(row)
    return fields


class Chained:
    """Links batches of messages and keeps what came out. `now` is the clock."""

    def __init__(self, **options) -> None:
        self.now = 1_000_000
        self._options = options
        self._linker: Linker | None = None
        self._read_offset = 0
        self._begun = 0
        self.leaves: list[bytes] = []
        self.rows: list[list[bytes | None]] = []
        self.payloads: list[Payload] = []
        self.annotations: list = []
        self.alerts: list[Alert] = []
        self.dropped: dict[str, int] = {}
        self.next_read_offset = 0

    def linker(self, partition: int) -> Linker:
        if self._linker is None:
            self._linker = new_linker(os.urandom(16), partition, clock=lambda: self.now, **self._options)
        return self._linker

    def link(self, *messages: Message, found: Found | None = None, to_item=None) -> None:
        """One batch; read offsets are given in order."""
        numbered = dict(enumerate(messages, self._read_offset))
        partition = self._partition_of(messages)
        self.link_at(numbered, to_item or (lambda message: enriched_item(message, partition)), found)

    def link_at(self, messages: dict[int, Message], to_item, found: Found | None = None) -> None:
        """One batch of messages at given read offsets."""
        linker = self.linker(self._partition_of(messages.values()))
        self._read_offset = max(messages) + 1
        items = [to_item(message._replace(offset=offset)) for offset, message in messages.items()]
        linked = linker.link(items, found or Found())
        self._begun += 1
        for number, section in enumerate(linked.sections, 1):
            section.chain.number = section.chain.number or number
            self._take(section)
        self.alerts += linked.alerts
        for reason, count in linked.dropped.items():
            self.dropped[reason] = self.dropped.get(reason, 0) + count
        self.next_read_offset = linked.next_read_offset

    def body_of(self, message: Message) -> bytes:
        """The body that is committed to for a message of audit.enriched."""
        return encode_body(message.key, message.value, message.headers[:-1])

    def _partition_of(self, messages) -> int:
        for message in messages:
            item = enriched_item(message, -1)
            if "partition" in item.fault:
                return int(item.fault.split()[1])
        return 0

    def _take(self, section) -> None:
        for row in section.records:
            fields = read_fields(row)
            self.rows.append(fields)
            self.leaves.append(fields[8])
        for start in range(0, len(section.payloads), PAYLOAD_PIECES):
            fields = read_fields(b"".join(section.payloads[start : start + PAYLOAD_PIECES]))
            self.payloads.append(Payload(int.from_bytes(fields[1], "big"), *fields[3:]))
        self.annotations += section.annotations

    @property
    def records(self) -> list[Record]:
        return [decode(leaf) for leaf in self.leaves]

    @property
    def hashes(self) -> list[bytes]:
        return [record_hash(leaf) for leaf in self.leaves]

    @property
    def documents(self) -> list[dict | None]:
        """The JSON of our own records, None for the others."""
        return [
            json.loads(decode_body(payload.body).value) if record.kind in OWN_KINDS else None
            for record, payload in zip(self.records, self.payloads, strict=True)
        ]

    def offsets(self) -> list[int]:
        """Source offsets of what is no skip record."""
        return [
            record.source_offset
            for record in self.records
            if record.source_offset != ABSENT and record.kind != Kind.SKIP
        ]

    def recorded(self, log: Log) -> dict:
        """What a database would say of the offsets."""
        return {
            (log.topic_id, record.source_offset): [
                Recorded(record.kafka_ts_ms, record.payload_commitment, payload.salt)
            ]
            for record, payload in zip(self.records, self.payloads, strict=True)
            if record.source_offset != ABSENT
        }

    def forget(self) -> None:
        """All batches are stored: nothing is in memory any more."""
        for _ in range(self._begun):
            self._linker.stored()
        self._begun = 0

    def commitments_hold(self) -> bool:
        """Whether every record commits to its payload row, and links to the one before."""
        before = None
        for record, payload, leaf in zip(self.records, self.payloads, self.leaves, strict=True):
            if record.seq and record.prev != before:
                return False
            before = record_hash(leaf)
            if payload.body is not None and record.payload_commitment != payload_commitment(
                payload.salt, payload.body
            ):
                return False
            if payload.enrich is not None and record.enrichment_commitment != enrichment_commitment(
                payload.enrich_salt, payload.enrich
            ):
                return False
        return True
