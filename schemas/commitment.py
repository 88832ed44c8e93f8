"""Commitments: the injective encoding of a Kafka message and the salted hashes over it.

RECORD_FORMAT.md is the specification. Everything here is a pure function of bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from struct import Struct
from typing import NamedTuple

from schemas.hashing import sha256_each

PAYLOAD_LABEL = b"audit-pay/v1\n"
ENRICHMENT_LABEL = b"audit-enr/v1\n"
EVENT_ID_LABEL = b"audit-id/v1\n"
ABOUT_LABEL = b"audit-about/v1\n"
SALT_BYTES = 32
ABSENT_HASH = bytes(32)
"""Stands in a record where there is no commitment or no event id."""

U16_MAX = 65_535
_U16 = Struct(">H")
_U32 = Struct(">I")
_I64 = Struct(">q")
_LEADING_I64 = Struct(">q24x")
_PLACE = Struct(">16sIq")


class Body(NamedTuple):
    """A Kafka message as it came: key, value (None is a null) and headers in order."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[bytes, bytes | None]]


def encode_body(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> bytes:
    """opt(key) opt(value) u16 n {u16 length, name, opt(value)}…; opt is 0x00, or 0x01 u32 length bytes."""
    parts = [
        b"\0" if key is None else b"\1" + _U32.pack(len(key)) + key,
        b"\0" if value is None else b"\1" + _U32.pack(len(value)) + value,
    ]
    if not headers:
        return parts[0] + parts[1] + b"\0\0"
    count = 0
    for name, content in headers:
        raw = name.encode("utf-8", "surrogateescape")
        parts.append(_U16.pack(len(raw)) + raw)
        parts.append(b"\0" if content is None else b"\1" + _U32.pack(len(content)) + content)
        count += 1
    parts.insert(2, _U16.pack(count))
    return b"".join(parts)


def headers_fit(headers: Sequence[tuple[str, bytes | None]]) -> bool:
    """Whether `encode_body` can hold these headers: at most 65,535, with names of at most 65,535 bytes."""
    return len(headers) <= U16_MAX and all(
        len(name) * 4 <= U16_MAX or len(name.encode("utf-8", "surrogateescape")) <= U16_MAX
        for name, _ in headers
    )


def decode_body(body: bytes) -> Body:
    """The reverse of `encode_body`. Raises ValueError if the bytes are not exactly one body."""
    key, at = _optional(body, 0)
    value, at = _optional(body, at)
    count = _U16.unpack_from(_take(body, at, 2))[0]
    at += 2
    headers = []
    for _ in range(count):
        length = _U16.unpack_from(_take(body, at, 2))[0]
        name = _take(body, at + 2, length)
        content, at = _optional(body, at + 2 + length)
        headers.append((name, content))
    if at != len(body):
        raise ValueError(f"{len(body) - at} bytes behind the end of the body")
    return Body(key, value, headers)


def _take(body: bytes, at: int, length: int) -> bytes:
    piece = body[at : at + length]
    if len(piece) != length:
        raise ValueError(f"body ends at byte {len(body)}, {length} bytes wanted at {at}")
    return piece


def _optional(body: bytes, at: int) -> tuple[bytes | None, int]:
    mark = _take(body, at, 1)
    if mark == b"\0":
        return None, at + 1
    if mark != b"\1":
        raise ValueError(f"byte {at} of the body is {mark.hex()}, not 00 or 01")
    length = _U32.unpack_from(_take(body, at + 1, 4))[0]
    return _take(body, at + 5, length), at + 5 + length


def payload_commitment(salt: bytes, body: bytes) -> bytes:
    """32 bytes that bind (salt, body) and tell nothing of the body once the salt is erased."""
    return sha256(PAYLOAD_LABEL + salt + body).digest()


def enrichment_commitment(salt: bytes, enrichment: bytes) -> bytes:
    """As `payload_commitment`, over the enrichment's JSON bytes and with a salt of its own."""
    return sha256(ENRICHMENT_LABEL + salt + enrichment).digest()


def event_id(salt: bytes, source: str, identifier: str) -> bytes:
    """The salted identity (CloudEvents source and id) that stands in the record."""
    return sha256(EVENT_ID_LABEL + salt + _identity(source, identifier)).digest()


def about_event(topic_id: bytes, partition: int, source_offset: int) -> bytes:
    """What stands as event_id in an annotation's record: which event it is about, to be told from the record alone, also
    when the annotation's text is erased. Not salted: coordinates in Kafka are no personal data."""
    return sha256(ABOUT_LABEL + _PLACE.pack(topic_id, partition, source_offset)).digest()


def producer_id(source: str) -> bytes:
    """16 bytes that name a source, the same in every record of it."""
    return sha256(source.encode("utf-8", "surrogatepass")).digest()[:16]


def identity_hash(source: str, identifier: str) -> int:
    """A signed 64-bit number by which a repeat of (source, id) is looked for; it survives erasure."""
    number: int = _I64.unpack(sha256(_identity(source, identifier)).digest()[:8])[0]
    return number


def identities_each(salts: list[bytes], names: list[tuple[str, str]]) -> list[tuple[bytes, int]]:
    """`event_id` and `identity_hash` of many events at once, by salt and (source, id): in half the time of one after the
    other."""
    plain = [f"{source}\0{identifier}".encode("utf-8", "surrogatepass") for source, identifier in names]
    numbers = [number for (number,) in _LEADING_I64.iter_unpack(b"".join(sha256_each(b"", plain)))]
    return list(zip(sha256_each(EVENT_ID_LABEL, salts, plain), numbers, strict=True))


def _identity(source: str, identifier: str) -> bytes:
    return source.encode("utf-8", "surrogatepass") + b"\0" + identifier.encode("utf-8", "surrogatepass")
