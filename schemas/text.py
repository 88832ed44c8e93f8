"""Event values as text for people: one line, printable, bounded. Whatever is in an event is untrusted."""

from __future__ import annotations

import re
from typing import Any

VALUE_LIMIT = 200
"""Characters of one value in a summary."""
_LISTED = 3
_ODD = re.compile(r'[\s"()<>\[\];]').search
_ODD_ENCLOSED = re.compile(r'["()<>\[\];]').search
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


def quoted(text: str, *, enclosed: bool = False) -> str:
    """`text` in quotes unless it is plainly one word (where the template encloses it in brackets: one phrase), so
    that no value can pass for a part of the sentence around it."""
    odd = _ODD_ENCLOSED(text) if enclosed else _ODD(text)
    return text if odd is None else '"' + text.replace('"', "'") + '"'


def is_secret(path: str) -> bool:
    """Whether the last step of a path names a secret (`db.password`), not the name of one (`secret_id`)."""
    name = path.rsplit(".", 1)[-1]
    return _SECRET.search(name) is not None and _NAME_OF_SECRET.search(name) is None
