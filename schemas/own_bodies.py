"""The JSON bodies of our own record kinds (RECORD_FORMAT.md, section 5): a fixed list of fields for each."""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec

from schemas.commitment import decode_body


class Previous(msgspec.Struct):
    """The chain that a genesis record follows on."""

    chain_id: str
    last_hash: str
    next_seq: int
    why: str


class Genesis(msgspec.Struct):
    """Record 0: what the chain is a chain of. Ids and hashes in hex."""

    format: Literal["audit-rec/v1"]
    cluster_id: str
    topic: str
    topic_id: str
    partition: int
    first_offset: int
    read_topic: str
    read_topic_id: str
    previous: Previous | None


class Close(msgspec.Struct):
    """The last record of a chain that another one follows."""

    why: Literal["topic-recreated", "log-rewound"]
    next_chain_id: str
    new_topic_id: str


class Skip(msgspec.Struct):
    """Offsets without an event: lawful holes (`not-delivered`), or lost to retention (`expired`)."""

    first: int
    last: int
    reason: Literal["not-delivered", "expired"]


class Duplicate(msgspec.Struct):
    """A repeat of an event that is recorded already, and the commitment to its body as it came."""

    first_chain_id: str
    first_seq: int
    payload_commitment: str


class Stamped(msgspec.Struct):
    """The newest time-stamp of the seal log: over how many seals, and SHA-256 of its token in hex."""

    size: int
    sha256: str


class TimeAnchor(msgspec.Struct):
    """A checkpoint of the seal log, a signed note with the cosignatures that it had: what stands behind this record is
    younger than it."""

    checkpoint: str
    timestamp: Stamped | None = None


Own = TypeVar("Own", Genesis, Close, Skip, Duplicate, TimeAnchor)


def read_own(kind: type[Own], body: bytes) -> Own:
    """The JSON in an own record's body. Fields beyond the known are let through. Raises ValueError."""
    message = decode_body(body)
    if message.key is not None or message.headers or message.value is None:
        raise ValueError("a body of our own has a null key, no headers and a value")
    try:
        return msgspec.json.decode(message.value, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"not a {kind.__name__.lower()} body: {error}") from error
