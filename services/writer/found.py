"""What the linking asks the database for before it starts, and what is the same as what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

import msgspec

from schemas.commitment import payload_commitment
from schemas.enrichment import Header
from services.writer.chain import Target


class Message(NamedTuple):
    """What is used of a Kafka message, as the base of what the linking handles (kafka-python's records fit)."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class Item(NamedTuple):
    """A message on its way into the chain. `headers` are those that came with the event; `fault` says what is wrong
    with a message that cannot be placed at all (then `header` is None). `order` is the type of an own event that is to
    be carried out, `flaw` says why one is not."""

    message: Message
    header: Header | None
    headers: Sequence[tuple[str, bytes | None]]
    target: Target | None = None
    fault: str = ""
    order: str = ""
    flaw: str = ""


class Recorded(NamedTuple):
    """A record of an offset that was passed. `salt` is None where nothing is left to compare with: the payload is
    erased, or the value was withheld."""

    kafka_ts_ms: int
    commitment: bytes
    salt: bytes | None

    def is_same(self, kafka_ts_ms: int, body: bytes | None) -> bool:
        """Whether a message is the one recorded: same Kafka time and, where its payload is kept, same body. `body` is
        None where the message's own value is withheld."""
        if self.kafka_ts_ms != kafka_ts_ms:
            return False
        return self.salt is None or body is None or payload_commitment(self.salt, body) == self.commitment


class Content(NamedTuple):
    """What makes two events of one identity the same: the SHA-256 of the Kafka value (None for a null), and the headers
    in which a binary CloudEvent has its attributes and media type. A binary event's type and subject stand nowhere else:
    by value alone a harmless forerunner could hide a real event."""

    value_hash: bytes | None
    attributes: tuple[tuple[bytes, bytes | None], ...] = ()


class Candidate(NamedTuple):
    """An earlier record of the chain with the same identity hash. `name` is its (source, id); both it and `content` are
    None where the payload is erased."""

    seq: int
    erased: bool
    name: tuple[str, str] | None
    content: Content | None


MOST_CANDIDATES = 16
"""Earlier events of one identity that a repeat is compared with, at most."""


def content_of(value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> Content:
    """The content of a message, `headers` being those that came with the event."""
    return Content(
        None if value is None else sha256(value).digest(),
        attributes_of((name.encode("utf-8", "surrogateescape"), content) for name, content in headers),
    )


def attributes_of(headers: Iterable[tuple[bytes, bytes | None]]) -> tuple[tuple[bytes, bytes | None], ...]:
    """The headers of a CloudEvent in binary mode, in a fixed order (Kafka Protocol Binding 3.2)."""
    return tuple(
        sorted(
            (pair for pair in headers if pair[0].startswith(b"ce_") or pair[0] == b"content-type"),
            key=lambda pair: (pair[0], pair[1] or b""),
        )
    )


@dataclass(slots=True)
class Found:
    """The database's answers for one batch of one partition."""

    recorded: dict[tuple[bytes, int], list[Recorded]] = field(default_factory=dict)
    candidates: dict[int, list[Candidate]] = field(default_factory=dict)


class _Named(msgspec.Struct):
    source: str = ""
    id: str = ""


def named(enrichment: bytes | None) -> tuple[str, str] | None:
    """(source, id) that an enrichment names, None where it cannot be read."""
    if enrichment is None:
        return None
    try:
        found = msgspec.json.decode(enrichment, type=_Named)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return found.source, found.id
