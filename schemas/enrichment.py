"""What the enricher says of an event, and the one binary header in which it travels.

Header `piperoll`, big-endian: u8 version (1) | u8 flags | u8 kind (1 event, 3 poison) | topic_id[16] | u32 partition
| i64 offset | i64 prev | i64 kafka_ts_ms | u8 kafka_ts_type | i64 event_time_us (minimum = absent) | u64 producer_seq
| producer_id[16] | event_id[32] | i64 identity_hash | payload_salt[32] | enrichment_salt[32]
| payload_commitment[32] (zero unless the value is withheld) | enrichment, UTF-8 JSON to the end.

All that the writer needs stands at a fixed place, so it parses no JSON; the enrichment repeats source and id in clear.
"""

from __future__ import annotations

from functools import partial
from struct import Struct
from typing import Any, Literal, NamedTuple

import msgspec

from schemas.commitment import ABSENT_HASH
from schemas.record import ABSENT, Kind

RISKS = ("informational", "low", "medium", "high", "critical")
"""Risk levels, lowest first: the levels of the Sigma specification."""
Risk = Literal["informational", "low", "medium", "high", "critical"]
Form = Literal["structured", "binary", "short", "bare", "poison"]
"""How the event stands in the Kafka message, and so where its data is."""

VERSION = 1
FLAG_RESET = 1
"""The consumer had no committed position, or the broker moved it: a hole may be expired data."""
FLAG_WITHHELD = 2
"""Over the size limit: the value is null here, and the header carries the commitment to the body as it came."""
PREV_NONE = -1

_LAYOUT = Struct(">BBB16sIqqqBqQ16s32sq32s32s32s")
_FIELDS = Struct(_LAYOUT.format.replace("B", "x", 1))
"""The same without the version."""


class Who(msgspec.Struct, omit_defaults=True, gc=False):
    """Who did what to what, from where, with what outcome; absent where the event does not tell."""

    actor: str | None = None
    action: str | None = None
    resource: str | None = None
    origin: str | None = None
    outcome: str | None = None


class RuleHit(msgspec.Struct):
    """A rule that fired: the evidence for a risk."""

    id: str
    title: str
    level: Risk


class AiReading(msgspec.Struct):
    """What a model says of all events of a shape, filled with the values of this one. It stands beside what rules say
    and after it, and replaces nothing."""

    summary: str
    tags: list[str]
    risk: Risk
    model: str
    prompt_version: str


class Enrichment(msgspec.Struct, omit_defaults=True, gc=False):
    """The enrichment of one event. Its JSON bytes are committed to as they are.

    `source` and `id` are cut to 2,048 characters here (the hashes in the header are over the whole). `time_from` says
    where the event time came from. `log_source` is the mapping's name. `by` is `rules` or the model's name; `pending`
    is true while an AI reading is still to come. `summary` and `risk` are the rules'; what a model adds stands in `ai`. `writer_tags` is added only by the writer (identity:conflict).
    No string in it holds U+0000 or a lone surrogate, so PostgreSQL's jsonb takes every enrichment.
    """

    form: Form
    source: str
    id: str
    type: str
    summary: str
    risk: Risk
    tags: list[str]
    subject: str | None = None
    time_from: Literal["event", "mapped", "kafka"] = "event"
    log_source: str | None = None
    content_type: str | None = None
    who: Who = msgspec.field(default_factory=Who)
    rules: list[RuleHit] = msgspec.field(default_factory=list)
    by: str = "rules"
    pending: bool = False
    reason: str | None = None
    length: int | None = None
    versions: dict[str, str] = msgspec.field(default_factory=dict)
    writer_tags: list[str] = msgspec.field(default_factory=list)
    ai: AiReading | None = None


class Header(NamedTuple):
    """The fixed part of the header and the enrichment's bytes. `prev` is the source offset of the record fetched
    before this one from the same partition (design page 2.1), -1 if there was none."""

    flags: int
    kind: int
    topic_id: bytes
    partition: int
    offset: int
    prev: int
    kafka_ts_ms: int
    kafka_ts_type: int
    event_time_us: int
    producer_seq: int
    producer_id: bytes
    event_id: bytes
    identity_hash: int
    payload_salt: bytes
    enrichment_salt: bytes
    payload_commitment: bytes
    enrichment: bytes


HEADER_FIXED_BYTES = _LAYOUT.size


def encode_header(header: Header) -> bytes:
    """The header's bytes. Raises struct.error where a number does not fit its width."""
    return pack_fixed(*header[:-1]) + header.enrichment


pack_fixed = partial(_LAYOUT.pack, VERSION)
"""The bytes before the enrichment, of the other fields one by one in the order of `Header`: for the enricher's inner loop."""


def decode_header(raw: bytes) -> Header:
    """The reverse of `encode_header`. Raises ValueError if it is not a header of this version."""
    if len(raw) < HEADER_FIXED_BYTES or raw[0] != VERSION:
        raise ValueError(
            f"not a piperoll header of version {VERSION}: {len(raw)} bytes, beginning {raw[:2].hex()}"
        )
    return Header._make(_FIELDS.unpack_from(raw) + (raw[HEADER_FIXED_BYTES:],))  # noqa: RUF005 - the cheaper way


def add_writer_tags(enrichment: bytes, tags: list[str]) -> bytes:
    """The same enrichment with `writer_tags`, spliced in before the last brace: deterministic, so that a restore
    from audit.enriched can repeat it."""
    return enrichment[:-1] + b',"writer_tags":' + msgspec.json.encode(tags) + b"}"


def clean(text: str, limit: int = 2048) -> str:
    """`text` without what jsonb refuses (U+0000, lone surrogates become U+FFFD), cut to `limit` characters."""
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8") if _has_surrogate(text) else text
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)


class Told(NamedTuple):
    """What people are told of an event: rules and AI together."""

    summary: str
    tags: list[str]
    risk: Risk
    by: str


def told(document: Enrichment) -> Told:
    """The clause by rules and the AI's text after it, the tags of both, the higher risk, and who had the last word."""
    ai = document.ai
    if ai is None:
        return Told(document.summary, document.tags, document.risk, document.by)
    tags = list(dict.fromkeys([*document.tags, *ai.tags]))
    return Told(f"{document.summary} {ai.summary}", tags, highest(document.risk, ai.risk), ai.model)


def highest(*risks: str) -> Any:
    """The highest of some risk levels."""
    return max(risks, key=RISKS.index)


__all__ = [
    "ABSENT",
    "ABSENT_HASH",
    "AiReading",
    "Enrichment",
    "Header",
    "Kind",
    "RuleHit",
    "Told",
    "Who",
    "add_writer_tags",
    "clean",
    "decode_header",
    "encode_header",
    "highest",
    "pack_fixed",
    "told",
]
