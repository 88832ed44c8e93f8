"""Checks one record against its payload row: the commitments, and the identity that the enrichment tells.

Pure functions of rows. Whether a payload that is gone was erased lawfully is for the caller to know.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

import msgspec

from schemas.commitment import (
    ABSENT_HASH,
    ENRICHMENT_LABEL,
    PAYLOAD_LABEL,
    about_event,
    decode_body,
    event_id,
    identity_hash,
    payload_commitment,
    producer_id,
)
from schemas.events import PoisonError, read_message
from schemas.record import Kind, Record
from schemas.verification.findings import Change, Part

_producer = lru_cache(maxsize=4096)(producer_id)


class Content(NamedTuple):
    """One row of audit.payload: the bytes that a record commits to. `appended_us`: microseconds since 1970 UTC."""

    seq: int
    appended_us: int
    salt: bytes | None
    body: bytes | None
    enrich_salt: bytes | None
    enrich: bytes | None


class Problem(NamedTuple):
    """Something wrong with the contents of one record; the chain's verifier makes a finding of it."""

    change: Change
    part: Part
    fields: tuple[str, ...]
    detail: str


class Named(msgspec.Struct):
    """What identifies an event, read from its enrichment."""

    source: str
    id: str
    form: str = ""
    length: int | None = None


_decode_named = msgspec.json.Decoder(Named).decode


def read_named(enrichment: bytes) -> Named:
    """Source and id of an enrichment. Raises ValueError if it is none."""
    try:
        return _decode_named(enrichment)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"no enrichment: {error}") from error


def is_committed(record: Record, content: Content) -> bool:
    """Whether the body in a payload row is the one that the record commits to."""
    return (
        content.salt is not None
        and content.body is not None
        and payload_commitment(content.salt, content.body) == record.payload_commitment
    )


def check_content(record: Record, identity: int | None, content: Content | None) -> list[Problem]:
    """All that is wrong between a record, its identity column and its payload row; empty where all is well."""
    if content is None:
        return _payload_gone(record) + _enrichment_gone(record)
    _, appended_us, salt, body, enrich_salt, enrich = content
    problems: list[Problem] = []
    if (
        salt is None
        or body is None
        or sha256(PAYLOAD_LABEL + salt + body).digest() != record.payload_commitment
    ):
        problems += _payload_problems(record, content)
        salt = None  # not to be relied on
    if (
        enrich is None
        or enrich_salt is None
        or sha256(ENRICHMENT_LABEL + enrich_salt + enrich).digest() != record.enrichment_commitment
    ):
        problems += _enrichment_problems(record, content)
    elif record.kind == Kind.EVENT:
        problems += _event_identity(record, identity, content, salt)
    if salt is not None and record.kind in (Kind.ANNOTATION, Kind.OWN_EVENT):
        problems += _own_identity(record, identity, content, salt)
    if appended_us != record.appended_us:
        text = f"the payload row says {appended_us} µs, the leaf {record.appended_us}"
        problems.append(Problem(Change.EDITED, Part.COLUMN, ("payload.appended_at",), text))
    return problems


def _payload_gone(record: Record) -> list[Problem]:
    if record.payload_commitment == ABSENT_HASH:
        return []
    text = "the payload that the record commits to is gone, and no erasure record covers it"
    return [Problem(Change.MISSING, Part.PAYLOAD, ("salt", "body"), text)]


def _enrichment_gone(record: Record) -> list[Problem]:
    if record.enrichment_commitment == ABSENT_HASH:
        return []
    text = "the enrichment that the record commits to is gone, and no erasure record covers it"
    return [Problem(Change.MISSING, Part.ENRICHMENT, ("enrich_salt", "enrich"), text)]


def _payload_problems(record: Record, content: Content) -> list[Problem]:
    if content.salt is None and content.body is None:
        return _payload_gone(record)
    if record.payload_commitment == ABSENT_HASH:
        text = "a payload stands beside a record that commits to none"
        return [Problem(Change.INSERTED, Part.PAYLOAD, ("body",), text)]
    if content.body is None:
        if record.kind == Kind.POISON and _is_withheld(content):
            return []
        text = "the salt is there, the body is gone"
        return [Problem(Change.MISSING, Part.PAYLOAD, ("body",), text)]
    if content.salt is None:
        return [Problem(Change.MISSING, Part.PAYLOAD, ("salt",), "the body is there, its salt is gone")]
    text = "body or salt is not what the record commits to"
    return [Problem(Change.EDITED, Part.PAYLOAD, ("body",), text)]


def _is_withheld(content: Content) -> bool:
    """Over the size limit only the commitment is kept; the enrichment then tells the length."""
    try:
        return content.enrich is not None and read_named(content.enrich).length is not None
    except ValueError:
        return False


def _enrichment_problems(record: Record, content: Content) -> list[Problem]:
    if content.enrich is None and content.enrich_salt is None:
        return _enrichment_gone(record)
    if record.enrichment_commitment == ABSENT_HASH:
        text = "an enrichment stands beside a record that commits to none"
        return [Problem(Change.INSERTED, Part.ENRICHMENT, ("enrich",), text)]
    if content.enrich is None or content.enrich_salt is None:
        gone = "enrich" if content.enrich is None else "enrich_salt"
        return [Problem(Change.MISSING, Part.ENRICHMENT, (gone,), f"{gone} is gone")]
    text = "enrichment or its salt is not what the record commits to"
    return [Problem(Change.EDITED, Part.ENRICHMENT, ("enrich",), text)]


def _event_identity(
    record: Record, identity: int | None, content: Content, salt: bytes | None
) -> list[Problem]:
    """event_id, producer_id and identity_hash are made from source and id: made again and compared."""
    try:
        named = read_named(content.enrich or b"")
    except ValueError as error:
        return [
            Problem(Change.EDITED, Part.ENRICHMENT, ("enrich",), f"committed to as it is, and yet {error}")
        ]
    wrong = _wrong_identity(record, identity, salt, named.source, named.id)
    if not wrong:
        return []
    if _is_cut(named):
        whole = _whole_identity(named, content.body)
        wrong = () if whole is None else _wrong_identity(record, identity, salt, *whole)
    return _wrong_problems(wrong)


class _Message(msgspec.Struct):
    """What names an event of our own (source, id) or an annotation (the rest)."""

    source: str = ""
    id: str = ""
    topic_id: str = ""
    partition: int = 0
    offset: int = 0
    model: str = ""
    prompt_version: str = ""
    run: str = ""


def _own_identity(record: Record, identity: int | None, content: Content, salt: bytes) -> list[Problem]:
    """The same for what came on our own topics, where the message itself tells."""
    try:
        said = msgspec.json.decode(decode_body(content.body or b"").value or b"", type=_Message)
    except (ValueError, msgspec.MsgspecError) as error:
        return [Problem(Change.EDITED, Part.PAYLOAD, ("body",), f"committed to as it is, and yet {error}")]
    if record.kind == Kind.ANNOTATION:
        name = [said.topic_id.lower(), said.partition, said.offset, said.model, said.prompt_version, said.run]
        expected = identity_hash("annotation", msgspec.json.encode(name).decode())
        fields: tuple[str, ...] = () if _is_about(record, said) else ("event_id",)
        return _wrong_problems(fields if identity == expected else (*fields, "identity_hash"))
    wrong = _wrong_identity(record, identity_hash(said.source, said.id), salt, said.source, said.id)
    return _wrong_problems(
        wrong if identity == identity_hash("own-event", said.id) else (*wrong, "identity_hash")
    )


def _is_about(record: Record, said: _Message) -> bool:
    """Whether an annotation's record names the event that its message names; zero bytes name none."""
    if record.event_id == ABSENT_HASH:
        return True
    try:
        return record.event_id == about_event(bytes.fromhex(said.topic_id), said.partition, said.offset)
    except (ValueError, struct.error):
        return False


def _wrong_problems(fields: tuple[str, ...]) -> list[Problem]:
    text = "does not follow from the event's source and id"
    return [
        Problem(Change.EDITED, Part.COLUMN if field == "identity_hash" else Part.RECORD, (field,), text)
        for field in fields
    ]


def _wrong_identity(
    record: Record, identity: int | None, salt: bytes | None, source: str, name: str
) -> tuple[str, ...]:
    """The fields that do not follow from source and id. Without a salt that can be relied on, event_id is let be."""
    salted, hashed = event_id(salt or b"", source, name), identity_hash(source, name)
    same_event = record.event_id == salted or salt is None
    if same_event and hashed == identity and record.producer_id == _producer(source):
        return ()
    wrong: tuple[str, ...] = () if same_event else ("event_id",)
    if record.producer_id != _producer(source):
        wrong += ("producer_id",)
    return wrong if hashed == identity else (*wrong, "identity_hash")


def _is_cut(named: Named) -> bool:
    """Whether the enrichment may hold source or id only in part: cut to length, or with characters replaced."""
    return any(text.endswith("…") or "\N{REPLACEMENT CHARACTER}" in text for text in (named.source, named.id))


def _whole_identity(named: Named, body: bytes | None) -> tuple[str, str] | None:
    """Source and id as they stand in the event itself; None where they are not written there."""
    if body is None or named.form not in ("structured", "binary"):
        return None
    try:
        message = decode_body(body)
        headers = [(name.decode("utf-8", "surrogateescape"), value) for name, value in message.headers]
        event = read_message(message.value, headers)
    except (ValueError, PoisonError):
        return None
    return (event.source, event.id) if event.source and event.id else None
