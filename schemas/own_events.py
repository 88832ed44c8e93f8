"""Own events that are orders: the writer carries them out in the transaction that records them, and a verification relies
on them ever after (RECORD_FORMAT.md, section 8). Pure.

They are read strictly, fields beyond the known refused: what one version carries out no other may read otherwise.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, NamedTuple

import msgspec

ERASURE = "piperoll.erasure"
RESTORE = "piperoll.restore"
RETENTION = "piperoll.retention"
ORDERS = frozenset((ERASURE, RESTORE, RETENTION))
"""Types of own events that are orders."""
MOST_NAMED = 4000
"""Events that one erasure names: about 400 KB of JSON, well below what audit.system takes."""

Hex16 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Partition = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]
Name = Annotated[str, msgspec.Meta(max_length=200)]


class EventPlace(NamedTuple):
    """Which event: id and partition of its topic, and its offset there."""

    topic_id: bytes
    partition: int
    source_offset: int


class NamedEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event as an order names it; `topic_id` in hex."""

    topic_id: Hex16
    partition: Partition
    source_offset: Number

    @property
    def place(self) -> EventPlace:
        return EventPlace(bytes.fromhex(self.topic_id), self.partition, self.source_offset)


class Erasure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose payload goes, by whom and why. Never the text that was searched for: that is personal data itself. A large
    request is several own events: `part` of `parts`, of one `request`."""

    by: Name
    reason: Reason
    requested_us: Number
    request: Name
    part: Number
    parts: Number
    events: Annotated[list[NamedEvent], msgspec.Meta(min_length=1, max_length=MOST_NAMED)]
    ticket: Name | None = None


class NamedRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A record that is put right, and what of it; `chain_id` in hex."""

    chain_id: Hex16
    seq: Number
    what: Literal["leaf", "payload"]


class Restore(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is put back, from where (`source`) and why. The bytes wait in audit.restoration under `batch` (hex)."""

    by: Name
    reason: Reason
    requested_us: Number
    request: Name
    part: Number
    parts: Number
    source: Name
    batch: Hex16
    records: Annotated[list[NamedRecord], msgspec.Meta(min_length=1, max_length=MOST_NAMED)]
    ticket: Name | None = None


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That all payloads appended before the end of `month` (2025-10, UTC) go; `records` and `payloads` count what the
    month had, `archive` is the SHA-256 (hex) of the file that it was written to, None where there is none."""

    by: Name
    reason: Reason
    requested_us: Number
    request: Name
    part: Number
    parts: Number
    month: Annotated[str, msgspec.Meta(pattern="^2[0-9]{3}-(0[1-9]|1[0-2])$")]
    records: Number
    payloads: Number
    archive: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")] | None = None
    ticket: Name | None = None

    @property
    def until_us(self) -> int:
        """The end of the month, microseconds since 1970 UTC."""
        year, number = int(self.month[:4]), int(self.month[5:])
        end = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
        return int(end.timestamp()) * 1_000_000


Order = Erasure | Restore | Retention


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    """The CloudEvent around an order."""

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    data: msgspec.Raw
    time: str | None = None
    datacontenttype: str | None = None


_DATA: dict[str, type[Order]] = {ERASURE: Erasure, RESTORE: Restore, RETENTION: Retention}


class _Typed(msgspec.Struct):
    type: str = ""


def order_type(value: bytes) -> str:
    """The type of an own event where it is an order's, else an empty string."""
    if b"piperoll." not in value:
        return ""
    try:
        said = msgspec.json.decode(value, type=_Typed).type
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    return said if said in ORDERS else ""


def read_order(value: bytes) -> Order:
    """The order that an own event's Kafka value is. Raises ValueError where it is none, or is not as it must be."""
    if b"\\u0000" in value:
        raise ValueError("U+0000 in an order: PostgreSQL's jsonb does not take it")
    try:
        envelope = msgspec.json.decode(value, type=_Envelope)
        wanted = _DATA.get(envelope.type)
        if wanted is None:
            raise ValueError(f"{envelope.type[:80]!r} is no order")
        return msgspec.json.decode(envelope.data, type=wanted)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not an order: {error}") from error


__all__ = [
    "ERASURE",
    "MOST_NAMED",
    "ORDERS",
    "RESTORE",
    "RETENTION",
    "Erasure",
    "EventPlace",
    "NamedEvent",
    "NamedRecord",
    "Order",
    "Restore",
    "Retention",
    "order_type",
    "read_order",
]
