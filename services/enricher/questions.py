"""What a model is asked about events, and what of its answer is believed. Pure.

Events go in redacted, as JSON lines between markers that nobody outside can know. From the answer come, for each event
that was asked about, one bounded sentence without markup, tags of the vocabulary and one of five risks, or nothing.
"""

from __future__ import annotations

import json
import re
import secrets
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from schemas.catalog import Catalog
from schemas.enrichment import RISKS, Enrichment, Header, Risk, clean, decode_header
from schemas.events import PoisonError, read_message
from schemas.record import ABSENT
from schemas.topics import PIPEROLL_HEADER, reply_token
from services.common.ai.client import Message
from services.common.ai.prompts import Prompt
from services.common.ai.redactor import Redactor
from services.common.ai.vocabulary import TAGS_LIMIT

SUMMARY_LIMIT = 400
ANSWER_LIMIT = 200_000
"""Characters of an answer that are looked at."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LINK = re.compile(
    r"(?:\b[a-z][a-z0-9+.-]{1,20}://|\b(?:javascript|data|mailto|file|vbscript):|\bwww\.)\S*", re.IGNORECASE
)
_TAG_LIKE = re.compile(r"<[^<>]{0,200}>")
_MARKUP = str.maketrans(dict.fromkeys("<>{}`*|\\^~", None))
_decode_enrichment = msgspec.json.Decoder(Enrichment).decode


class Subject(NamedTuple):
    """An event of audit.enriched: its fixed header, its enrichment, its message, and the token of who waits for it."""

    header: Header
    document: Enrichment
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    token: bytes | None


class Reading(NamedTuple):
    """What a model says of one event, checked."""

    summary: str
    tags: list[str]
    risk: Risk


def subject_of(value: bytes | None, headers: Sequence[tuple[str, bytes | None]]) -> Subject:
    """The event in a message of audit.enriched. Raises ValueError if the enricher did not write it."""
    if not headers or headers[-1][0] != PIPEROLL_HEADER:
        raise ValueError(f"the last header is not {PIPEROLL_HEADER}")
    header = decode_header(headers[-1][1] or b"")
    try:
        document = _decode_enrichment(header.enrichment)
    except msgspec.MsgspecError as error:
        raise ValueError(f"the enrichment cannot be read: {error}") from error
    return Subject(header, document, value, headers[:-1], reply_token(headers[:-1]))


class Form:
    """How questions are put: the prompt, the vocabulary, and the catalogue that says what is sensitive."""

    name = "readings"

    def __init__(
        self, prompt: Prompt, vocabulary: Mapping[str, str], catalog: Catalog, language: str
    ) -> None:
        listed = "\n".join(f"- {tag}: {meaning}" for tag, meaning in vocabulary.items())
        self.version = prompt.version
        self.instructions = prompt.filled(language=language, tags=listed)
        self.vocabulary = frozenset(vocabulary)
        self.schema = _schema(list(vocabulary))
        self._entries = catalog.entries

    def ask(self, subjects: Sequence[Subject]) -> Question:
        """The question about some events."""
        return Question(self, subjects)

    def redactor(self, event_type: str) -> Redactor:
        """A fresh redactor for one event."""
        entry = self._entries.get(event_type)
        return Redactor(frozenset() if entry is None else entry.sensitive)


class Question:
    """A request about some events, numbered from 0, and the reading of its answer."""

    def __init__(self, form: Form, subjects: Sequence[Subject]) -> None:
        self._form = form
        self._redactors = [form.redactor(subject.document.type) for subject in subjects]
        lines = [
            _line(number, subject, redactor)
            for number, (subject, redactor) in enumerate(zip(subjects, self._redactors, strict=True))
        ]
        marker = secrets.token_hex(8)
        events = "\n".join(lines)
        self.messages: list[Message] = [
            {"role": "system", "content": form.instructions},
            {"role": "user", "content": f"=== events {marker} ===\n{events}\n=== end {marker} ==="},
        ]

    def read(self, answer: str) -> dict[int, Reading]:
        """The readings by number. Numbers that are missing, doubled, or read wrongly are left out."""
        found: dict[int, Reading | None] = {}
        for said in _readings(answer):
            number = said.get("event") if isinstance(said, dict) else None
            if type(number) is not int or not 0 <= number < len(self._redactors):
                continue
            found[number] = None if number in found else self._reading(said, self._redactors[number])
        return {number: reading for number, reading in found.items() if reading is not None}

    def _reading(self, said: dict[str, Any], redactor: Redactor) -> Reading | None:
        summary, tags, risk = said.get("summary"), said.get("tags"), said.get("risk")
        if not isinstance(summary, str) or not isinstance(tags, list) or risk not in RISKS:
            return None
        text = plain_sentence(redactor.restore(summary[: 4 * SUMMARY_LIMIT]))
        known = [tag for tag in tags[:100] if isinstance(tag, str) and tag in self._form.vocabulary]
        return Reading(text, list(dict.fromkeys(known))[:TAGS_LIMIT], risk) if text else None


def plain_sentence(text: str) -> str:
    """A model's text as one bounded line without markup, links, control or bidi characters; "" where no word is left."""
    text = unicodedata.normalize("NFC", clean(text, 4 * SUMMARY_LIMIT))
    text = "".join(letter if letter.isprintable() else " " if letter.isspace() else "" for letter in text)
    text = _LINK.sub("[link]", _TAG_LIKE.sub("", text)).translate(_MARKUP).replace("](", "] (")
    text = " ".join(text.split())
    return clean(text, SUMMARY_LIMIT) if any(letter.isalnum() for letter in text) else ""


def _line(number: int, subject: Subject, redactor: Redactor) -> str:
    """One event as a line of JSON. Data first: what its secret fields hold is then masked everywhere."""
    document, header = subject.document, subject.header
    try:
        data = redactor.data(read_message(subject.value, subject.headers).data)
    except PoisonError:
        data = None
    line: dict[str, Any] = {
        "event": number,
        "type": redactor.text(document.type),
        "source": redactor.text(document.source),
        "subject": None if document.subject is None else redactor.text(document.subject),
        "time": None if header.event_time_us == ABSENT else _time(header.event_time_us),
        "who": {name: redactor.text(said) for name, said in msgspec.to_builtins(document.who).items()},
        "rules": [hit.title for hit in document.rules],
        "risk": document.risk,
        "tags": document.tags,
        "summary": redactor.text(document.summary, 600),
        "data": data,
    }
    shown = {name: said for name, said in line.items() if said not in (None, [], {})}
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _time(us: int) -> str | None:
    try:
        return (_EPOCH + timedelta(microseconds=us)).isoformat(timespec="seconds")
    except OverflowError:
        return None


def _readings(answer: str) -> list[Any]:
    """The list in an answer: JSON, alone or within other text or a fence."""
    answer = answer[:ANSWER_LIMIT]
    first, last = answer.find("{"), answer.rfind("}")
    try:
        parsed = msgspec.json.decode(answer[first : last + 1].encode("utf-8", "replace"))
    except (msgspec.MsgspecError, RecursionError):
        return []
    readings = parsed.get("readings") if isinstance(parsed, dict) else None
    return readings if isinstance(readings, list) else []


def _schema(tags: list[str]) -> dict[str, Any]:
    """JSON Schema of an answer, within what structured outputs take (strict: all required, nothing more)."""
    reading = {
        "event": {"type": "integer"},
        "summary": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string", "enum": tags}},
        "risk": {"type": "string", "enum": list(RISKS)},
    }
    return _object({"readings": {"type": "array", "items": _object(reading)}})


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
