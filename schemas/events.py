"""Reading a message of audit.events: CloudEvents 1.0 (binary or structured), the short form, or bare JSON.

Lenient on purpose: what stands on the topic has happened and must be recorded. Only what is over a limit, or is
neither a binary CloudEvent nor UTF-8 JSON, is poison. What is merely odd is let through with a tag. The strict
reading for HTTP, where the sender can still be told, is in `cloudevents.py`.
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from schemas.enrichment import Form
from schemas.topics import OWN_SOURCE_PREFIX

DEPTH_LIMIT = 100
"""Levels of nesting of objects and lists that an event may have."""

TAG_INVALID_CLOUDEVENT = "cloudevent:invalid"
TAG_NAN = "json:nan"
TAG_DUPLICATE_KEY = "json:duplicate-key"
TAG_SURROGATE = "json:lone-surrogate"
TAG_DATA_NOT_JSON = "data:not-json"
TAG_INVALID_BASE64 = "data:invalid-base64"
TAG_TIME_INVALID = "time:invalid"
TAG_TIME_NO_ZONE = "time:no-zone"
TAG_RESERVED_SOURCE = "source:reserved"

_OWN = OWN_SOURCE_PREFIX[:-1]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_decode_json = msgspec.json.decode
_encode_json = msgspec.json.encode
_BRACKET, _BACKSLASH = b"[\\"  # looked for as numbers: ten times faster than as bytes
_STRUCTURED = b'{"specversion":'


class PoisonError(Exception):
    """This message cannot be taken as an event; the text says why."""


class Event(msgspec.Struct, gc=False):
    """An event as read. `data` is parsed JSON, or bytes where a binary CloudEvent says another content type; `raw`
    is the whole JSON value (for a binary event: `data`). `time` is as written; `tags` say what was odd."""

    form: Form
    source: str
    id: str
    type: str
    data: Any
    raw: Any
    subject: str | None = None
    time: str | None = None
    sequence: str | None = None
    content_type: str | None = None
    attributes: dict[str, Any] = msgspec.field(default_factory=dict)
    tags: list[str] = msgspec.field(default_factory=list)


class _Structured(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """A structured CloudEvent that has no attributes but these: read in half the time of one that has others."""

    specversion: str
    id: str
    source: str
    type: str
    time: str | None = None
    datacontenttype: str | None = None
    subject: str | None = None
    data: Any = None
    dataschema: str | None = None
    sequence: str | None = None
    sequencetype: str | None = None
    partitionkey: str | None = None
    backfill: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None

    def get(self, name: str, /) -> Any:
        """An attribute, None where there is none."""
        return getattr(self, name) if name in self.__struct_fields__ else None


_decode_structured = msgspec.json.Decoder(_Structured).decode


def read_message(
    value: bytes | None, headers: Sequence[tuple[str, bytes | None]], *, depth_limit: int = DEPTH_LIMIT
) -> Event:
    """The event in a Kafka message. A short form or bare JSON has `source` and `id` empty where it names none:
    the caller completes them from a mapping or the Kafka coordinates. Raises PoisonError."""
    if headers and (event := _binary(_binary_attributes(headers), value, depth_limit)) is not None:
        return event
    if value is None:
        raise PoisonError("null value without CloudEvents headers")
    tags: list[str] = []
    return read_json(parse_json(value, tags, depth_limit), tags)


def read_judged(value: bytes | None, headers: Sequence[tuple[str, bytes | None]]) -> Event:
    """`read_message` for whoever only judges an event, in three quarters of the time: where a structured CloudEvent has
    nothing odd, `raw` is None and `attributes` has no more than `get`. Raises PoisonError."""
    if value is not None and not headers and value.startswith(_STRUCTURED):
        event = _structured(value, DEPTH_LIMIT)
        if event is not None:
            return event
    return read_message(value, headers)


def read_json(raw: Any, tags: list[str]) -> Event:
    """The event in a parsed JSON value: structured CloudEvent, short form, or bare data of any type."""
    if isinstance(raw, dict):
        if "specversion" in raw:
            event = _cloudevent("structured", raw, raw.get("data"), raw, tags)
            if event is not None:
                return event
            tags.append(TAG_INVALID_CLOUDEVENT)
        elif isinstance(raw.get("event_type"), str) and "event_data" in raw:
            return _short(raw, tags)
    return Event("bare", "", "", "", raw, raw, tags=tags)


def parse_json(value: bytes, tags: list[str], depth_limit: int = DEPTH_LIMIT) -> Any:
    """The JSON value in `value`; appends to `tags` what was odd. Raises PoisonError if it is not UTF-8 JSON or is
    nested deeper than `depth_limit`."""
    try:
        parsed = _decode_json(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        parsed = _parse_odd(value, tags, depth_limit)
    if _brackets(value) > depth_limit and _depth(parsed, depth_limit) > depth_limit:
        raise PoisonError(f"nested deeper than {depth_limit} levels")
    if _may_repeat_keys(value, parsed) and _has_duplicate_keys(value):
        tags.append(TAG_DUPLICATE_KEY)
    return parsed


def parse_time(text: str) -> tuple[int, bool]:
    """(microseconds since 1970 UTC, whether a zone was given) of an RFC 3339 or ISO 8601 time; without a zone it is
    taken as UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    zoned = moment.tzinfo is not None
    since = (moment if zoned else moment.replace(tzinfo=UTC)) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds, zoned


def is_reserved(source: str) -> bool:
    """Whether only Piperoll's own services may use this source."""
    return source.startswith(_OWN) and (source == _OWN or source.startswith(OWN_SOURCE_PREFIX))


def _structured(value: bytes, depth_limit: int) -> Event | None:
    """The event in a structured CloudEvent of nothing but well-known attributes in which nothing is odd, as nearly all
    are; None where the general reading has to look."""
    try:
        found = _decode_structured(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        return None
    if _brackets(value) > depth_limit or _may_repeat_keys(value, found):
        return None
    if not (found.specversion and found.id and found.source and found.type):
        return None
    return Event(
        "structured",
        found.source,
        found.id,
        found.type,
        found.data,
        None,
        found.subject,
        found.time,
        found.sequence,
        found.datacontenttype,
        found,  # type: ignore[arg-type]  # reads like a dictionary
        [],
    )


def _brackets(value: bytes) -> int:
    """How many objects and lists JSON has at most: no fewer than it has levels."""
    return value.count(b"{") + (value.count(b"[") if _BRACKET in value else 0)


def _binary_attributes(headers: Sequence[tuple[str, bytes | None]]) -> dict[str, str]:
    """The CloudEvents attributes in Kafka headers (`ce_…`, Kafka Protocol Binding 3.2)."""
    found: dict[str, str] = {}
    for name, content in headers:
        if content is None:
            continue
        if name.startswith("ce_"):
            found[name[3:]] = content.decode("utf-8", "replace")
        elif name == "content-type":
            found["datacontenttype"] = content.decode("utf-8", "replace")
    return found


def _binary(attributes: dict[str, str], value: bytes | None, depth_limit: int) -> Event | None:
    """None where the attributes are no CloudEvent's."""
    event = _cloudevent("binary", attributes, value, value, [])
    if event is not None and value is not None and is_json(event.content_type):
        try:
            event.data = event.raw = parse_json(value, event.tags, depth_limit)
        except PoisonError:
            event.tags.append(TAG_DATA_NOT_JSON)
    return event


def _base64_data(text: str, content_type: Any, tags: list[str]) -> Any:
    """The data of a structured event that came as `data_base64`: parsed where it is said to be JSON, else bytes."""
    try:
        data = b64decode(text, validate=True)
    except ValueError:
        tags.append(TAG_INVALID_BASE64)
        return text
    if not isinstance(content_type, str) or not is_json(content_type):
        return data
    try:
        return parse_json(data, tags)
    except PoisonError:
        tags.append(TAG_DATA_NOT_JSON)
        return data


def _short(raw: dict[str, Any], tags: list[str]) -> Event:
    identifier = raw.get("id")
    source = raw.get("source")
    data = raw["event_data"]
    event = Event("short", "", "", raw["event_type"], data, raw, tags=tags)
    event.source = source if isinstance(source, str) else ""
    event.id = identifier if isinstance(identifier, str) else ""
    time = raw.get("time")
    event.time = time if isinstance(time, str) else None
    return event


def _cloudevent(form: Form, attributes: dict[str, Any], data: Any, raw: Any, tags: list[str]) -> Event | None:
    """The event of these attributes, None where one of the four required is missing, empty or no text."""
    get = attributes.get
    version, identifier, source, kind = get("specversion"), get("id"), get("source"), get("type")
    if not (
        (type(version) is str and version)
        and (type(identifier) is str and identifier)
        and (type(source) is str and source)
        and (type(kind) is str and kind)
    ):
        return None
    subject, time, sequence = get("subject"), get("time"), get("sequence")
    content_type = get("datacontenttype")
    if data is None and form == "structured" and isinstance(encoded := get("data_base64"), str):
        data = _base64_data(encoded, content_type, tags)
    return Event(
        form,
        source,
        identifier,
        kind,
        data,
        raw,
        subject if type(subject) is str else None,
        time if type(time) is str else None,
        sequence if type(sequence) is str else None,
        content_type if type(content_type) is str else None,
        attributes,
        tags,
    )


def is_json(content_type: str | None) -> bool:
    """Whether a media type is JSON (RFC 8259, or the +json suffix of RFC 6839); absent counts as JSON."""
    if content_type is None:
        return True
    media = content_type.split(";", 1)[0].strip().lower()
    return media in ("application/json", "text/json") or media.endswith("+json")


def _parse_odd(value: bytes, tags: list[str], depth_limit: int) -> Any:
    """What the fast parser refuses may still be JSON by RFC 8259 (a lone surrogate) or nearly (NaN)."""

    def constant(_name: str) -> float:
        tags.append(TAG_NAN)
        return float("nan")

    try:
        text = value.decode("utf-8")
        parsed = json.loads(text, parse_constant=constant, parse_int=_parse_int)
    except RecursionError:
        raise PoisonError(f"nested deeper than {depth_limit} levels") from None
    except ValueError as error:
        raise PoisonError(f"not UTF-8 JSON: {error}") from None
    if "\\u" in text and any(
        "\ud800" <= letter <= "\udfff" for letter in json.dumps(parsed, ensure_ascii=False)
    ):
        tags.append(TAG_SURROGATE)
    return parsed


def _parse_int(digits: str) -> int | float:
    """Python refuses to parse integers of more than 4,300 digits: those become floats here."""
    return int(digits) if len(digits) <= 4000 else float(digits)


def _depth(parsed: Any, limit: int) -> int:
    """The nesting of a value, counted no further than `limit` + 1. Iterative: the value may be hostile."""
    level, here = 0, [parsed]
    while here and level <= limit:
        deeper: list[Any] = []
        nested = False
        for item in here:
            if isinstance(item, dict):
                nested = True
                deeper.extend(item.values())
            elif isinstance(item, list):
                nested = True
                deeper.extend(item)
        level += nested
        here = deeper
    return level


def _may_repeat_keys(value: bytes, parsed: Any) -> bool:
    """Whether a key may stand twice in one object: never false where one does. Written again, the value is the same
    bytes if it came compact; else it has one colon for each key that is left and those in its texts, so a key that
    was dropped shows as fewer colons. Only an escaped colon in the text could make up for it."""
    try:
        again = _encode_json(parsed)
    except (ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        return True  # lone surrogates, numbers beyond 64 bits
    if again == value:
        return False
    if _BACKSLASH in value and (b"\\u003a" in value or b"\\u003A" in value):
        return True
    return again.count(b":") != value.count(b":")


def _has_duplicate_keys(value: bytes) -> bool:
    duplicate = False

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal duplicate
        made = dict(items)
        duplicate = duplicate or len(made) != len(items)
        return made

    json.loads(value.decode("utf-8"), object_pairs_hook=pairs, parse_int=_parse_int)
    return duplicate
