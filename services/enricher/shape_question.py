"""What a model is asked about a shape, and what of its answer is believed. Pure.

The model sees what all events of the shape share and no value of any single one: it cannot make an example a rule.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

import msgspec

from schemas.enrichment import RISKS
from services.common.ai.client import Message
from services.common.ai.prompts import Prompt
from services.common.ai.redactor import Redactor
from services.enricher.faithful import contradicts, invents
from services.enricher.outcome_words import ENGLISH, OutcomeWords, outcome_words
from services.enricher.questions import ANSWER_LIMIT, object_schema
from services.enricher.readings import Readings
from services.enricher.shape_reading import SharedReading, names_in
from services.enricher.shapes import Shape


class ShapeForm:
    """How the question is put."""

    name = "shape"

    def __init__(self, prompt: Prompt, vocabulary: Mapping[str, str], language: str) -> None:
        listed = "\n".join(f"- {tag}: {meaning}" for tag, meaning in vocabulary.items())
        self.version = prompt.version
        self.words = outcome_words(language)
        self.instructions = prompt.filled(language=language, tags=listed)
        self.schema = object_schema(
            {
                "text": {"type": "string"},
                "tags": {"type": "array", "items": {"type": "string", "enum": list(vocabulary)}},
                "risk": {"type": "string", "enum": list(RISKS[:3])},
            }
        )

    def ask(self, shape: Shape, places: tuple[str, ...]) -> list[Message]:
        """The messages of a request."""
        marker = secrets.token_hex(8)
        return [
            {"role": "system", "content": self.instructions},
            {
                "role": "user",
                "content": f"=== kind {marker} ===\n{described(shape, places)}\n=== end {marker} ===",
            },
        ]


def described(shape: Shape, places: tuple[str, ...]) -> str:
    """A shape as one line of redacted JSON."""
    redactor = Redactor()
    shared = {field: value for field, value in zip(shape.fields, shape.values, strict=False) if value}
    if shape.values[-1]:
        shared.setdefault("outcome", shape.values[-1])
    keys = dict(path.replace("*", "ANY").rsplit(":", 1) for path in shape.paths)
    line = {
        "type": redactor.name(shape.type),
        "source": redactor.name(shape.source),
        "places": [f"{{{place}}}" for place in places],
        "shared": redactor.data(shared),
        "keys": redactor.data(keys),
    }
    shown = {name: said for name, said in line.items() if said not in (None, [], {})}
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def read_answer(
    readings: Readings, shape: Shape, answer: str, words: OutcomeWords = ENGLISH
) -> SharedReading | None:
    """The reading in an answer; None where there is none that all events of the shape could bear."""
    answer = answer[:ANSWER_LIMIT]
    try:
        said: Any = msgspec.json.decode(
            answer[answer.find("{") : answer.rfind("}") + 1].encode("utf-8", "replace")
        )
    except (msgspec.MsgspecError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    reading = readings.check(shape, said.get("text"), said.get("tags"), said.get("risk"))
    if reading is None:
        return None
    text = reading.text
    for name in names_in(text):
        text = text.replace(f"{{{name}}}", " ")
    shown = described(shape, ())
    if invents(text, shown) or contradicts(text, shape.values[-1], shown, words):
        return None
    return reading
