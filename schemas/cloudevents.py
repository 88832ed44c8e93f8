"""The strict reading of CloudEvents 1.0, for HTTP, where the sender can still be told what is wrong.

What passes here is read the same way by the lenient reading in `events.py`. Strict means: attribute names of a to z
and 0 to 9, the type system of the specification (section 3 of spec.md), version 1.0 only, time by RFC 3339, `data` or
`data_base64` but not both. Lone surrogates are refused in attributes and let through in data, where they are the
sender's own.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec

from schemas.events import PoisonError, is_json, parse_json
from schemas.strict_json import member_bytes, strict_json

REQUIRED = ("specversion", "id", "source", "type")
HTTP_PREFIX = "ce-"
KAFKA_PREFIX = "ce_"


class AttributeProblem(NamedTuple):
    """One attribute and what is wrong with it, as a sentence without a subject: "must be …"."""

    attribute: str
    detail: str
    missing: bool = False


class InvalidCloudEventError(ValueError):
    """Not a valid CloudEvent; `problems` names each wrong attribute."""

    def __init__(self, problems: list[AttributeProblem]) -> None:
        super().__init__("; ".join(f"{problem.attribute} {problem.detail}" for problem in problems))
        self.problems = problems


class StrictEvent(NamedTuple):
    """What a reader needs of a valid event. `data` is a JSON value, bytes of another media type, or None; `partition`
    is the Partitioning extension, else the source."""

    source: str
    id: str
    type: str
    partition: str
    data: Any


def read_structured(raw: Any) -> StrictEvent:
    """The event in a parsed JSON object in the CloudEvents JSON format. Raises InvalidCloudEventError."""
    if type(raw) is not dict:
        raise InvalidCloudEventError([AttributeProblem("event", "must be a JSON object")])
    problems = check_attributes(raw, _data_problems)
    if problems:
        raise InvalidCloudEventError(problems)
    data = raw.get("data")
    if data is None and raw.get("data_base64") is not None:
        data = _decoded(raw["data_base64"], raw.get("datacontenttype"))
    return _event(raw, data)


def read_binary(
    headers: Iterable[tuple[bytes, bytes]], content_type: str | None, body: bytes
) -> tuple[StrictEvent, list[tuple[str, bytes]]]:
    """The event of an HTTP request in binary content mode, and its attributes as Kafka headers (`ce_…`, in the order
    in which they came). Header names are lower case, as ASGI gives them. A JSON body is read strictly: raises
    InvalidCloudEventError and BadJsonError."""
    attributes: dict[str, Any] = {}
    problems: list[AttributeProblem] = []
    for raw_name, raw_text in headers:
        if raw_name.startswith(b"ce-"):
            name = raw_name[len(HTTP_PREFIX) :].decode("latin-1")
            problem = _take_header(attributes, name, raw_text)
            problems.extend([] if problem is None else [problem])
    problems = problems or check_attributes(attributes, _no_data_headers)
    if content_type is not None and (wrong := _media_type(content_type)):
        problems.append(AttributeProblem("Content-Type", wrong))
    if problems:
        raise InvalidCloudEventError(problems)
    data: Any = body or None
    if data is not None and is_json(content_type) and content_type is not None:
        data = strict_json(body)
    kafka_headers = [(KAFKA_PREFIX + name, text.encode("utf-8")) for name, text in attributes.items()]
    return _event(attributes, data), kafka_headers


def is_binary(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a request carries attributes of a CloudEvent in its headers."""
    return any(name in _BINARY_MARKS for name, _text in headers)


def structured_from_short(text: bytes, *, identifier: str, source: str, short: Mapping[str, Any]) -> bytes:
    """The structured CloudEvent of a short form: `text` is its JSON, `short` the same parsed. The bytes of event_data
    are kept as they are, so that no number changes. The same input gives the same bytes: a repeat is recognised."""
    known: dict[str, Any] = {
        "specversion": "1.0",
        "id": identifier,
        "source": source,
        "type": short["event_type"],
    }
    for name in ("time", "subject", "backfill"):
        if short.get(name) is not None:
            known[name] = short[name]
    known["datacontenttype"] = "application/json"
    return _ENCODE(known)[:-1] + b',"data":' + member_bytes(text, "event_data") + b"}"


Extra = Callable[[Mapping[str, Any]], list[AttributeProblem]]


def check_attributes(attributes: Mapping[str, Any], extra: Extra) -> list[AttributeProblem]:
    """What is wrong with the attributes of an event; a null counts as absent, as in the JSON format. `extra` looks at
    the members of `data`, which depend on the content mode."""
    problems = [
        AttributeProblem(name, "is missing: every CloudEvent has one", missing=True)
        for name in REQUIRED
        if attributes.get(name) is None
    ]
    for name, value in attributes.items():
        if value is None or name in _DATA_MEMBERS:
            continue
        detail = _CHECKS.get(name, _extension)(value)
        if detail is None and name not in _CHECKS and _NAME(name) is None:
            detail = "is no attribute name: only a to z and 0 to 9 are allowed"
        if detail is not None:
            problems.append(AttributeProblem(name, detail))
    return problems + extra(attributes)


def check_text(value: Any) -> str | None:
    """What is wrong with a value of type String."""
    if not isinstance(value, str):
        return "must be a string"
    # what is printable to Python holds nothing that is forbidden, and is found out ten times as fast
    if not value.isprintable() and _FORBIDDEN(value):
        return "must not hold control characters, noncharacters or lone surrogates"
    return None


def check_nonempty(value: Any) -> str | None:
    """What is wrong with a non-empty String."""
    return check_text(value) or ("must not be empty" if value == "" else None)


def check_source(value: Any) -> str | None:
    """What is wrong with a non-empty URI-reference; letters beyond ASCII are let through."""
    wrong = check_nonempty(value)
    if wrong is None and _URI_REFERENCE(value) is None:
        return 'must be a URI-reference: percent-encode blanks, <, >, ", {, }, |, \\, ^, ` and a % of its own (%25)'
    return wrong


def check_time(value: Any) -> str | None:
    """What is wrong with a Timestamp (RFC 3339)."""
    if not isinstance(value, str):
        return "must be a string"
    parts = _TIME(value)
    if parts is None:
        return "must be an RFC 3339 time with a zone, such as 2026-05-01T12:00:00Z"
    date, clock, seconds, zone = parts.groups()
    try:  # a leap second is lawful: the 60th is checked as the 59th
        datetime.fromisoformat(f"{date}T{clock}:{'59' if seconds == '60' else seconds}{zone.upper()}")
    except ValueError as error:
        return f"is not a time that exists: {error}"
    return None


def _specversion(value: Any) -> str | None:
    return None if value == "1.0" else 'must be "1.0": other versions are not taken'


def _media_type(value: Any) -> str | None:
    wrong = check_nonempty(value)
    if wrong is None and _MEDIA_TYPE(value) is None:
        return "must be a media type, such as application/json"
    return wrong


def _dataschema(value: Any) -> str | None:
    wrong = check_source(value)
    if wrong is None and _SCHEME(value) is None:
        return "must be an absolute URI"
    return wrong


def _extension(value: Any) -> str | None:
    """Boolean, Integer (32 bits) or String: what an extension may be in the JSON format."""
    if type(value) is bool:
        return None
    if type(value) is int:
        return None if -(2**31) <= value < 2**31 else "is beyond 32 bits: write it as a string"
    if isinstance(value, str):
        return check_text(value)
    if isinstance(value, float):
        return "must not be a decimal number: write it as a string"
    return "must be a string, a boolean or an integer"


_CHECKS: dict[str, Callable[[Any], str | None]] = {
    "specversion": _specversion,
    "id": check_nonempty,
    "source": check_source,
    "type": check_nonempty,
    "subject": check_nonempty,
    "time": check_time,
    "datacontenttype": _media_type,
    "dataschema": _dataschema,
    "partitionkey": check_nonempty,
    "sequence": check_nonempty,
}
_DATA_MEMBERS = frozenset({"data", "data_base64"})
_BINARY_MARKS = frozenset({b"ce-specversion", b"ce-id", b"ce-source", b"ce-type"})
_NAME = re.compile(r"[a-z0-9]+").fullmatch
_URI_REFERENCE = re.compile(r"(?:[^\s<>\"{}|\\^`%]|%[0-9A-Fa-f]{2})+").fullmatch
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:").match
_MEDIA_TYPE = re.compile(r"[\w!#$%&'*+.^`|~-]+/[\w!#$%&'*+.^`|~-]+\s*(?:;.*)?", re.ASCII).fullmatch
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d):(\d\d)(?:\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
).fullmatch
_NONCHARACTERS = "".join(chr(plane * 0x10000 + last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
_ENCODE = msgspec.json.encode
_FORBIDDEN = re.compile(f"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef{_NONCHARACTERS}]").search


def _event(attributes: Mapping[str, Any], data: Any) -> StrictEvent:
    source = attributes["source"]
    return StrictEvent(
        source, attributes["id"], attributes["type"], attributes.get("partitionkey") or source, data
    )


def _data_problems(raw: Mapping[str, Any]) -> list[AttributeProblem]:
    encoded = raw.get("data_base64")
    if encoded is None:
        return []
    if raw.get("data") is not None:
        return [AttributeProblem("data_base64", "must not stand beside data: keep one of them")]
    try:
        binascii.a2b_base64(encoded, strict_mode=True)
    except (TypeError, ValueError):
        return [AttributeProblem("data_base64", "must be a string in Base64 (RFC 4648, with padding)")]
    return []


def _no_data_headers(attributes: Mapping[str, Any]) -> list[AttributeProblem]:
    wrong = [
        AttributeProblem(name, "must be the body, not a header") for name in _DATA_MEMBERS & attributes.keys()
    ]
    if "datacontenttype" in attributes:
        wrong.append(AttributeProblem("datacontenttype", "must be given as Content-Type in binary mode"))
    return wrong


def _decoded(encoded: str, content_type: Any) -> Any:
    raw = binascii.a2b_base64(encoded)
    if not is_json(content_type):
        return raw
    try:
        return parse_json(raw, [])
    except PoisonError:
        return raw


def _take_header(attributes: dict[str, Any], name: str, raw: bytes) -> AttributeProblem | None:
    """Adds the attribute of one ce- header, percent-decoded once (HTTP binding 3.1.3.2); says what is wrong."""
    if name in attributes:
        return AttributeProblem(name, "stands in two headers: keep one of them")
    text = raw.strip(b" \t")
    if len(text) > 1 and text[:1] == b'"' == text[-1:]:
        text = re.sub(rb"\\(.)", rb"\1", text[1:-1])
    try:
        attributes[name] = unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        return AttributeProblem(name, "must be UTF-8, percent-encoded where it is not printable ASCII")
    return None
