"""Receipts: what ingest knows of an event once it is durable, for whoever wants to ask for its proof later.

A receipt is not signed. It says where the broker put the event, what its value hashed to, and where its proof will be; the
proof is the evidence, and must be of this offset and of a value with this hash.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from services.common.proofs import Offset
from services.ingest.reading import Record


def receipt(record: Record, sent: Any, topic_id: bytes | None) -> dict[str, Any]:
    """Of a record that the broker has acknowledged by `sent` (kafka-python's RecordMetadata). `offset` is null where the
    broker only said that it has it already; `proof` is null where that or the topic's id is not known."""
    offset = sent.offset if sent.offset >= 0 else None
    place = None if topic_id is None or offset is None else Offset(topic_id, sent.partition, offset)
    return {
        "topic": sent.topic,
        "topic_id": None if topic_id is None else topic_id.hex(),
        "partition": sent.partition,
        "offset": offset,
        "timestamp_ms": sent.timestamp,
        "value_sha256": None if record.value is None else sha256(record.value).hexdigest(),
        "proof": None if place is None else f"/v1/events/{place}/proof",
    }
