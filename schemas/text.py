"""Event values as text for people: one line, printable, bounded. Whatever is in an event is untrusted."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from schemas.secrets import mask_certain

VALUE_LIMIT = 200
"""Characters of one value in a summary."""
_LISTED = 3
_PLAIN = r"\w!#$%&'*+,./:=?@\\^`{|}~-"
_WORD = re.compile(f"[{_PLAIN}]{{1,{VALUE_LIMIT}}}").fullmatch
_PHRASE = re.compile(f"[ {_PLAIN}]{{1,{VALUE_LIMIT}}}").fullmatch
_SECRET = re.compile(
    r"password|passwd|passphrase|secret|token|authorization|credential|private_?key|cookie|api_?key|session_?key",
    re.IGNORECASE,
)
_NAME_OF_SECRET = re.compile(r"(id|ids|name|arn|type|hash|version|expiry|count)$", re.IGNORECASE)


def neutral(text: str, limit: int) -> str:
    """`text` in one line: line breaks become blanks; control, bidi and other unprintable characters U+FFFD."""
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else " " if letter in "\t\r\n" else "\N{REPLACEMENT CHARACTER}"
        for letter in text
    )


def plain(value: Any, limit: int = VALUE_LIMIT) -> str | None:
    """A scalar, or the first of a list of scalars, as neutral text; None where there is nothing to show."""
    kind = type(value)
    if kind is str:
        return neutral(value, limit) if value else None
    if kind is int or kind is float:
        return str(value)[:limit]
    if kind is bool:
        return "true" if value else "false"
    if kind is list:
        shown = [text for item in value[:_LISTED] if type(item) is not list and (text := plain(item, limit))]
        if not shown:
            return None
        return neutral(", ".join(shown) + (", …" if len(value) > _LISTED else ""), limit)
    return None


def word(value: Any) -> str | None:
    """A value for a sentence: bare if it is plainly one word, else neutral and in quotes, so that no value can pass for
    a part of the sentence around it; None where there is nothing to show."""
    if type(value) is str and len(value) <= VALUE_LIMIT:
        return short_word(value)
    text = plain(value)
    return None if text is None else short_word(text)


def phrase(value: Any) -> str | None:
    """As `word`, for places in brackets: several plain words may stand there without quotes."""
    if type(value) is str and len(value) <= VALUE_LIMIT:
        return short_phrase(value)
    text = plain(value)
    return None if text is None else short_phrase(text)


@lru_cache(maxsize=8192)  # the same users, files and addresses come again and again
def short_word(text: str) -> str | None:
    """`word` of a text of VALUE_LIMIT characters at most; keys, tokens and passwords in it are masked."""
    text = mask_certain(text)
    return text if _WORD(text) is not None else _quoted(text)


@lru_cache(maxsize=8192)
def short_phrase(text: str) -> str | None:
    """`phrase` of a text of VALUE_LIMIT characters at most."""
    text = mask_certain(text)
    return text if _PHRASE(text) is not None else _quoted(text)


def _quoted(text: str) -> str | None:
    return '"' + neutral(text, VALUE_LIMIT).replace('"', "'") + '"' if text else None


def is_secret(path: str) -> bool:
    """Whether the last step of a path names a secret (`db.password`), not the name of one (`secret_id`)."""
    name = path.rsplit(".", 1)[-1]
    return _SECRET.search(name) is not None and _NAME_OF_SECRET.search(name) is None
