"""JSON read strictly, for HTTP: by RFC 8259, without duplicate keys, and the place of a mistake is told.

A lone surrogate is lawful JSON and let through.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from schemas.events import DEPTH_LIMIT, TAG_DUPLICATE_KEY, TAG_NAN, PoisonError, parse_json


class BadJsonError(ValueError):
    """Not JSON, or JSON that readers take differently. Line and column count from 1 where they are known."""

    def __init__(self, detail: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(detail)
        self.line = line
        self.column = column


def strict_json(text: bytes, depth_limit: int = DEPTH_LIMIT) -> Any:
    """The JSON value in `text`. Raises BadJsonError where it is none, has a key twice, holds NaN or Infinity, or is
    nested deeper than `depth_limit`."""
    tags: list[str] = []
    try:
        parsed = parse_json(text, tags, depth_limit)
    except PoisonError as error:
        raise _why_not_json(text, error) from None
    if TAG_NAN in tags:
        raise _no_number(text)
    if TAG_DUPLICATE_KEY in tags:
        raise BadJsonError(f"the key {_first_duplicate(text)} stands twice in one object: keep one of them")
    return parsed


def member_bytes(text: bytes, wanted: str) -> bytes:
    """The bytes of a member's value in a JSON object that `strict_json` has accepted. Raises KeyError."""
    line = text.decode("utf-8")
    at = _BLANKS(line, _BLANKS(line, 0).end() + 1).end()
    while line[at] == '"':
        name, at = _SCAN(line, at)
        start = _BLANKS(line, _BLANKS(line, at).end() + 1).end()
        _value, end = _SCAN(line, start)
        if name == wanted:
            return line[start:end].encode("utf-8")
        at = _BLANKS(line, end).end()
        at = _BLANKS(line, at + 1).end() if line[at] == "," else at
    raise KeyError(wanted)


_BLANKS: Callable[[str, int], re.Match[str]] = re.compile(r"[ \t\n\r]*").match  # type: ignore[assignment]
_SCAN = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode
_QUOTED_OR_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*+"|NaN|-?Infinity')


def _why_not_json(text: bytes, poison: PoisonError) -> BadJsonError:
    """The place of the first mistake."""
    try:
        json.loads(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        before = text[: error.start]
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8")) + 1
        return BadJsonError("not UTF-8", before.count(b"\n") + 1, column)
    except json.JSONDecodeError as error:
        detail = "a byte order mark stands before it: leave it out" if "BOM" in error.msg else error.msg
        return BadJsonError(detail, error.lineno, error.colno)
    except (RecursionError, ValueError):
        return BadJsonError(str(poison))
    return BadJsonError(str(poison))


def _no_number(text: bytes) -> BadJsonError:
    line = text.decode("utf-8")
    for found in _QUOTED_OR_CONSTANT.finditer(line):
        if not found[0].startswith('"'):
            at = json.JSONDecodeError(found[0], line, found.start())
            return BadJsonError(f"{found[0]} is no JSON: write null, or a string", at.lineno, at.colno)
    raise AssertionError("tagged as NaN without one")


def _first_duplicate(text: bytes) -> str:
    """The first key that stands twice in an object, as JSON."""
    twice: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for name, _value in items:
            if name in seen:
                twice.append(name)
            seen.add(name)

    json.loads(text, object_pairs_hook=pairs, parse_int=str)
    return json.dumps(twice[0][:100])
