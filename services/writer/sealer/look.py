"""The second look: compares records with the messages of the topic that they say they are of. Pure, no I/O.

`Look` has the records of one stretch of one chain and takes the topic's messages in their order. What it has compared
may be signed; what differs never is. It sees a record that was changed, put in or left out between the append and the
seal, by whoever may write to the database, and an enricher that passed on something else than it read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from struct import Struct
from typing import Any, NamedTuple

from schemas.commitment import PAYLOAD_LABEL, encode_body, headers_fit, payload_commitment
from schemas.record import ABSENT, RECORD_BYTES, Kind

_FACTS = Struct(">13x B 16x Q 32x 4x 8x q q B 8x 32x 16x 8x 32s 32x")
assert _FACTS.size == RECORD_BYTES
_COMPARED = frozenset((Kind.EVENT, Kind.POISON, Kind.ANNOTATION, Kind.OWN_EVENT))


class Mismatch(NamedTuple):
    """The first record of a stretch that is not what the topic holds. `what` holds no text of events."""

    seq: int
    source_offset: int
    what: str


class Original(NamedTuple):
    """What a duplicate's record keeps of its own message: commitment and the salt it was made with."""

    commitment: bytes
    salt: bytes | None


@dataclass(slots=True)
class Stretch:
    """Records of one chain from `first_seq` on. `leaves`: their bytes, one after the other; `salts`: payload salt by
    seq, missing where the payload is gone; `originals` by seq of duplicates; `skips`: (first, last) offset by seq;
    `erased`: source offsets of which an erasure is recorded."""

    first_seq: int
    leaves: bytes
    salts: Mapping[int, bytes]
    originals: Mapping[int, Original] = field(default_factory=dict)
    skips: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    erased: frozenset[int] = frozenset()

    @property
    def count(self) -> int:
        return len(self.leaves) // RECORD_BYTES


class Look:
    """`compared` of the stretch's records are known to be what the topic holds. `first` is the first offset that they
    cover, None where no record of it has an offset: then there is nothing to read."""

    def __init__(self, stretch: Stretch) -> None:
        self._stretch = stretch
        self._facts = list(_FACTS.iter_unpack(stretch.leaves))
        self._at = 0
        self.mismatch: Mismatch | None = None
        offsets = (facts[2] for facts in self._facts if facts[2] != ABSENT)
        self.first: int | None = next(offsets, None)
        self._pass_over()

    @property
    def compared(self) -> int:
        return self._at

    @property
    def done(self) -> bool:
        return self.mismatch is not None or self._at == len(self._facts)

    def take(self, messages: Sequence[Any]) -> int:
        """The next messages of the topic, as kafka-python hands them over, with no gap before them but what the
        broker does not deliver (aborted, control records). Returns how many of them it has compared."""
        facts, salts, count = self._facts, self._stretch.salts, len(self._facts)
        for number, message in enumerate(messages):
            if self._at < count and facts[self._at][0] == Kind.SKIP:
                self._meet_skip(message)
            if self._at >= count or self.mismatch is not None:
                return number
            kind, seq, offset, ts_ms, ts_type, commitment = facts[self._at]
            salt = salts.get(seq)
            body = _body(message) if kind in _COMPARED else b""
            if (
                message.offset == offset
                and salt is not None
                and sha256(PAYLOAD_LABEL + salt + body).digest() == commitment
                and message.timestamp == ts_ms
                and message.timestamp_type == ts_type
            ):
                self._at += 1  # the usual case
            elif (problem := self._problem(message, facts[self._at])) is None:
                self._at += 1
            else:
                self.mismatch = Mismatch(seq, offset, problem)
                return number
            if self._at < count and facts[self._at][2] == ABSENT:
                self._pass_over()
        return len(messages)

    def reached(self, position: int) -> None:
        """The topic was read up to `position` (exclusive): records before it of which no message came are not there."""
        while not self.done:
            kind, seq, offset, *_ = self._facts[self._at]
            if kind == Kind.SKIP:
                if position <= self._stretch.skips.get(seq, (offset, offset))[1]:
                    return
                self._at += 1
                self._pass_over()
                continue
            if offset < position:
                self._differs(seq, offset, "the topic has no message at this offset")
            return

    def ends_at(self, end: int) -> None:
        """The topic was read to its end: the next record says that it is of an offset behind it."""
        if not self.done:
            _, seq, offset, *_ = self._facts[self._at]
            self._differs(seq, offset, f"the topic ends at offset {end}: it has no such message")

    def _meet_skip(self, message: Any) -> None:
        """A message comes while a skip record is next: behind its range the skip is as it says, within it is not."""
        _, seq, offset, *_ = self._facts[self._at]
        first, last = self._stretch.skips.get(seq, (-1, -1))
        if first != offset or last < first:
            self._differs(seq, offset, f"the skip record says {first} to {last}, its offset is {offset}")
        elif message.offset <= last:
            text = f"the record says that offsets {first} to {last} were not delivered, but the topic has a message there"
            self._differs(seq, offset, text)
        else:
            self._at += 1
            self._pass_over()

    def _problem(self, message: Any, facts: tuple[Any, ...]) -> str | None:
        """What is wrong with a record of which the usual comparison failed; None where nothing is."""
        kind, seq, offset, ts_ms, ts_type, commitment = facts
        if message.offset != offset:
            return _unlike(message.offset, offset)
        if (message.timestamp, message.timestamp_type) != (ts_ms, ts_type) and not _untimed(message, ts_ms):
            return "Kafka's timestamp in the record is not the message's"
        if kind == Kind.DUPLICATE:
            original = self._stretch.originals.get(seq, Original(b"", None))
        elif kind in _COMPARED:
            original = Original(commitment, self._stretch.salts.get(seq))
        else:
            return f"a record of kind {kind} covers an offset at which the topic has a message"
        return self._content_problem(message, original)

    def _content_problem(self, message: Any, original: Original) -> str | None:
        if original.salt is None:
            erased = message.offset in self._stretch.erased
            return None if erased else "the payload is gone, and no erasure is recorded"
        if payload_commitment(original.salt, _body(message)) == original.commitment:
            return None
        return "key, value or headers are not what the record commits to"

    def _differs(self, seq: int, offset: int, what: str) -> None:
        self.mismatch = Mismatch(seq, offset, what)

    def _pass_over(self) -> None:
        """Records without an offset (genesis, close, time anchor) have nothing to be compared with."""
        while self._at < len(self._facts) and self._facts[self._at][2] == ABSENT:
            self._at += 1


def _body(message: Any) -> bytes:
    """What a record commits to of a message: its body, or key and value alone where its headers do not fit the encoding
    of a body (RECORD_FORMAT.md 24)."""
    headers = message.headers
    return encode_body(message.key, message.value, headers if not headers or headers_fit(headers) else ())


def _untimed(message: Any, ts_ms: int) -> bool:
    """A message without a timestamp: -1 on the wire, absent in the record."""
    return bool(message.timestamp is None or message.timestamp < 0) and ts_ms in (ABSENT, -1)


def _unlike(found: int, wanted: int) -> str:
    if found < wanted:
        return f"the topic has a message at offset {found} that no record covers"
    return "the topic has no message at this offset"
