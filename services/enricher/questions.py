"""What a model is asked about events, and what of its answer is believed. Pure.

Events go in redacted, as JSON lines between markers that nobody outside can know. From the answer come, for each event
that was asked about, one bounded sentence without markup, tags of the vocabulary and one of five risks, or nothing.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from schemas.catalog import Catalog
from schemas.enrichment import RISKS, Enrichment, Header, Risk, decode_header
from schemas.events import PoisonError
from schemas.record import ABSENT
from schemas.secrets import SECRET
from schemas.shredding.token import read_shown
from schemas.topics import PIPEROLL_HEADER, reply_token
from services.common.ai.client import Message
from services.common.ai.prompts import Prompt
from services.common.ai.redactor import Redactor
from services.common.ai.text import plain_text
from services.common.ai.vocabulary import TAGS_LIMIT
from services.enricher.faithful import contradicts, invents, names_actor, speaks_of_others
from services.enricher.outcome_words import outcome_words

SUMMARY_LIMIT = 400
ANSWER_LIMIT = 200_000
"""Characters of an answer that are looked at."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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
        self.words = outcome_words(language)
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
        shown = [
            _shown(number, *pair) for number, pair in enumerate(zip(subjects, self._redactors, strict=True))
        ]
        self._who: list[dict[str, str]] = [one.get("who", {}) for one in shown]
        self._lines = [_line(one) for one in shown]
        marker = secrets.token_hex(8)
        events = "\n".join(self._lines)
        self.messages: list[Message] = [
            {"role": "system", "content": form.instructions},
            {"role": "user", "content": f"=== events {marker} ===\n{events}\n=== end {marker} ==="},
        ]

    def read(self, answer: str) -> dict[int, Reading]:
        """The readings by number. Numbers that are missing, doubled, or read wrongly are left out."""
        found: dict[int, Reading | None] = {}
        for said in readings_in(answer):
            number = said.get("event") if isinstance(said, dict) else None
            if type(number) is not int or not 0 <= number < len(self._redactors):
                continue
            found[number] = None if number in found else self._reading(number, said)
        return {number: reading for number, reading in found.items() if reading is not None}

    def _reading(self, number: int, said: dict[str, Any]) -> Reading | None:
        summary, tags, risk = said.get("summary"), said.get("tags"), said.get("risk")
        if not isinstance(summary, str) or not isinstance(tags, list) or risk not in RISKS:
            return None
        summary = summary[: 4 * SUMMARY_LIMIT]
        if self.flaws(number, summary):
            return None
        text = plain_text(self._redactors[number].restore(summary), SUMMARY_LIMIT)
        known = [tag for tag in tags[:100] if isinstance(tag, str) and tag in self._form.vocabulary]
        return Reading(text, list(dict.fromkeys(known))[:TAGS_LIMIT], risk) if text else None

    def flaws(self, number: int, summary: str) -> list[str]:
        """What is wrong with a model's text of the event of this number: `actor`, `outcome`, `invented`, `other event`."""
        text = plain_text(_kept(summary), SUMMARY_LIMIT)
        shown, who = self._lines[number], self._who[number]
        others = [value for at, one in enumerate(self._who) if at != number for value in one.values()]
        actor = who.get("actor", "")
        nameable = SECRET not in actor and " " not in actor
        found = {
            "actor": not names_actor(text, _kept(actor) if nameable else None),
            "invented": invents(text, _kept(shown)),
            "outcome": contradicts(text, who.get("outcome"), shown, self._form.words),
            "other event": speaks_of_others(text, _kept(shown), map(_kept, others)),
        }
        return [name for name, wrong in found.items() if wrong]


def _kept(text: str) -> str:
    """Stand-ins of the redactor as words that `plain_text` leaves alone."""
    return (
        text.replace("[email_", "[mail_")
        .replace("[ip_", "[address_")
        .replace("[name_", "[person_")
        .replace(SECRET, "")
    )


def _shown(number: int, subject: Subject, redactor: Redactor) -> dict[str, Any]:
    """What the model sees of one event. Data first: what its secret fields hold is then masked everywhere."""
    document, header = subject.document, subject.header
    try:
        data = redactor.data(read_shown(subject.value, subject.headers).data)
    except PoisonError:
        data = None
    line: dict[str, Any] = {
        "event": number,
        "type": redactor.name(document.type),
        "source": redactor.name(document.source),
        "subject": None if document.subject is None else redactor.text(document.subject),
        "time": None if header.event_time_us == ABSENT else _time(header.event_time_us),
        "who": {name: redactor.text(said) for name, said in msgspec.to_builtins(document.who).items()},
        "rules": [hit.title for hit in document.rules],
        "risk": document.risk,
        "tags": document.tags,
        "summary": redactor.text(document.summary, 600),
        "data": data,
    }
    return {name: said for name, said in line.items() if said not in (None, [], {})}


def _line(shown: dict[str, Any]) -> str:
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _time(us: int) -> str | None:
    try:
        return (_EPOCH + timedelta(microseconds=us)).isoformat(timespec="seconds")
    except OverflowError:
        return None


def readings_in(answer: str) -> list[Any]:
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
    return object_schema({"readings": {"type": "array", "items": object_schema(reading)}})


def object_schema(properties: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema of an object within what structured outputs take."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
