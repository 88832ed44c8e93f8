"""The reading of a shape: a sentence with placeholders, checked when it comes and filled for every event. Pure.

Placeholders may name only what `shapes.placeholders` allows. Values come in as in the rules' sentences: neutral, bounded and,
where they are not one word, quoted. A reading speaks for events that nobody has looked at, so its risk is at most medium.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec

from schemas.enrichment import RISKS, AiReading, Risk, Who
from schemas.template import Sentence
from services.common.ai.text import plain_text
from services.common.ai.vocabulary import TAGS_LIMIT
from services.enricher.shapes import FACTS, Shape, as_shape

TEXT_LIMIT = 300
FILLED_LIMIT = 900
HIGHEST: Risk = "medium"
_PLACE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]{0,63})\}")
_ODD = re.compile(r"[<>{}`*|\\^~]|:[/]{2}|\[(?:email|ip|name)_\d|\bfield_\d").search
_ODD_LETTER = re.compile(r"[<>{}`*|\\^~\[]").search
"""A letter of which every odd place has one, but for `://` and `field_`: found ten times as fast."""
_ROUND = str.maketrans("[]", "()")
_PUNCTUATION = frozenset(" ,.;:()'\"-!?/&%")


class Entry(msgspec.Struct, omit_defaults=True):
    """A message of audit.shapes. `withheld`: why there is no reading; it is asked again after `RETRY_MS`."""

    shape: list[Any]
    model: str
    prompt_version: str
    at_ms: int
    text: str = ""
    tags: list[str] = []
    risk: Risk = "informational"
    withheld: str = ""


class SharedReading:
    """A checked reading, ready to be filled: `template` is its text in the language of the rules' sentences."""

    __slots__ = ("_ai", "_fill", "risk", "tags", "text")

    def __init__(self, text: str, template: str, tags: list[str], risk: Risk, name: tuple[str, str]) -> None:
        self.text = text
        self.tags = tags
        self.risk = risk
        self._fill: Callable[[dict[str, Any], Who, Any], str] = Sentence(template).fill
        self._ai = (tags, risk, *name)

    def fill(self, who: Who, data: dict[str, Any]) -> AiReading:
        """What it says of one event."""
        text = self._fill(data, who, None)
        if (_ODD_LETTER(text) or "://" in text or "field_" in text) and _ODD(text):
            # values of the event: what a model could not write, they do not bring in either
            text = plain_text(text, FILLED_LIMIT)
        return AiReading(text if len(text) <= FILLED_LIMIT else text[: FILLED_LIMIT - 1] + "…", *self._ai)


def checked(
    text: Any,
    tags: Any,
    risk: Any,
    *,
    allowed: Collection[str],
    vocabulary: Collection[str],
    name: tuple[str, str],
) -> SharedReading | None:
    """What of a model's reading is believed; None where it is no reading. `name` is model and prompt version."""
    if (
        not isinstance(text, str)
        or not isinstance(tags, list)
        or risk not in RISKS
        or len(text) > 4 * TEXT_LIMIT
    ):
        return None
    shown = template = ""
    for at, piece in enumerate(_PLACE.split(text)):
        if at % 2 == 0:
            if "{" in piece or "}" in piece:
                return None
            literal = _literal(piece)
            shown, template = shown + literal, template + literal
        elif piece in allowed:
            shown += f"{{{piece}}}"
            template += f"{{@{piece}}}" if piece in FACTS else f"{{{piece}}}"
        else:
            return None
    if not any(letter.isalnum() for letter in _PLACE.sub("", shown)) or len(shown) > TEXT_LIMIT:
        return None
    known = list(dict.fromkeys(tag for tag in tags[:100] if isinstance(tag, str) and tag in vocabulary))
    risk = min(risk, HIGHEST, key=RISKS.index)
    return SharedReading(shown.strip(), template.strip().rstrip(". "), known[:TAGS_LIMIT], risk, name)


def read_entry(value: bytes) -> tuple[Shape, Entry]:
    """A message of audit.shapes. Raises ValueError."""
    try:
        entry = msgspec.json.decode(value, type=Entry)
        return as_shape(entry.shape), entry
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not a reading of a shape: {error}") from None


def entry_key(shape: Shape, model: str, prompt_version: str) -> bytes:
    """The key of a message of audit.shapes."""
    return f"{shape.key}/{prompt_version}/{model}".encode()


def _literal(piece: str) -> str:
    """The text between two placeholders: plain, with one blank where blanks stood at its ends, and without brackets, which
    mean something in templates."""
    text = plain_text(piece, TEXT_LIMIT).translate(_ROUND)
    if not text:
        text = "".join(letter for letter in piece if letter in _PUNCTUATION).strip()
    before, after = piece[:1].isspace(), piece[-1:].isspace() and (text or not piece[:1].isspace())
    return " " * before + text + " " * bool(after)


def names_in(text: str) -> Sequence[str]:
    """The placeholders of a text."""
    return [found[1] for found in _PLACE.finditer(text)]
