"""The chain record: 227 fixed-width bytes that are at once the leaf of an RFC 6962 tree.

RECORD_FORMAT.md is the specification, `vectors/record.json` the golden vectors. `record_hash` is the RFC 6962
leaf hash, and `prev` is the record hash of the record before: chain and tree cannot diverge.
"""

from __future__ import annotations

from enum import IntEnum
from functools import partial
from hashlib import sha256
from struct import Struct
from typing import NamedTuple

from schemas.commitment import ABSENT_HASH

LABEL = b"audit-rec/v1\n"
ABSENT = -(2**63)
"""The smallest i64: no source offset, no Kafka timestamp, no event time."""
GENESIS_PREV = bytes(32)
NO_TIMESTAMP_TYPE = 255

_LAYOUT = Struct(">13sB16sQ32sIqqqBq32s16sQ32s32s")
RECORD_BYTES = _LAYOUT.size
unpack = _LAYOUT.unpack
"""The label, then the fields of 227 bytes, nothing checked: for loops over many leaves."""


class Kind(IntEnum):
    """What a record stands for."""

    EVENT = 1
    DUPLICATE = 2
    POISON = 3
    SKIP = 4
    GENESIS = 5
    CLOSE = 6
    ANNOTATION = 7
    OWN_EVENT = 8
    TIME_ANCHOR = 9


class Record(NamedTuple):
    """The fields of a record in their order on the wire. Times: microseconds (us) or milliseconds (ms) since
    1970 UTC. `kafka_ts_type`: 0 the producer's time, 1 the broker's, 255 none."""

    kind: int
    chain_id: bytes
    seq: int
    prev: bytes
    writer_epoch: int
    appended_us: int
    source_offset: int = ABSENT
    kafka_ts_ms: int = ABSENT
    kafka_ts_type: int = NO_TIMESTAMP_TYPE
    event_time_us: int = ABSENT
    event_id: bytes = ABSENT_HASH
    producer_id: bytes = bytes(16)
    producer_seq: int = 0
    payload_commitment: bytes = ABSENT_HASH
    enrichment_commitment: bytes = ABSENT_HASH


def encode(record: Record) -> bytes:
    """The canonical 227 bytes. Raises struct.error where a number does not fit its width."""
    return _LAYOUT.pack(LABEL, *record)


pack = partial(_LAYOUT.pack, LABEL)
"""As `encode`, of the fields one by one: for loops over many records."""


def decode(leaf: bytes) -> Record:
    """The fields of a leaf. Raises ValueError if it is not a record of this version."""
    if len(leaf) != RECORD_BYTES or not leaf.startswith(LABEL):
        raise ValueError(f"not an audit-rec/v1 record: {len(leaf)} bytes, beginning {leaf[:13]!r}")
    return Record(*_LAYOUT.unpack(leaf)[1:])


def record_hash(leaf: bytes) -> bytes:
    """SHA-256(0x00 || leaf), the leaf hash of RFC 6962 section 2.1."""
    return sha256(b"\0" + leaf).digest()
