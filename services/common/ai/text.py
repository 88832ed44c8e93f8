"""A model's words as text for people: one bounded line in which nothing can be clicked, rendered or run."""

from __future__ import annotations

import re
import unicodedata

from schemas.enrichment import clean

_LINK = re.compile(
    r"(?:\b[a-z][a-z0-9+.-]{1,20}://|\b(?:javascript|data|mailto|file|vbscript):|\bwww\.)\S*", re.IGNORECASE
)
_TAG_LIKE = re.compile(r"<[^<>]{0,200}>")
_MARKUP = str.maketrans(dict.fromkeys("<>{}`*|\\^~", None))
_STAND_IN = re.compile(r"\[(?:email|ip|name)_\d{1,6}\]")
_FIELD = re.compile(r"\bfield_\d{1,4}\b")


def plain_text(text: str, limit: int = 400) -> str:
    """A model's text as one line of at most `limit` characters without markup, links, control or bidi characters, and
    without stand-ins of the redactor that nobody put back; "" where no word is left."""
    text = unicodedata.normalize("NFC", clean(text, 4 * limit))
    text = "".join(letter if letter.isprintable() else " " if letter.isspace() else "" for letter in text)
    text = _LINK.sub("[link]", _TAG_LIKE.sub("", text)).translate(_MARKUP).replace("](", "] (")
    text = _FIELD.sub("a withheld name", _STAND_IN.sub("(withheld)", text))
    text = " ".join(text.split())
    return clean(text, limit) if any(letter.isalnum() for letter in text) else ""
