"""Cutting a body that holds several events into the bytes of each, without parsing it as a whole.

So memory is bounded by the largest event, and each event goes on byte for byte as it was sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from schemas.strict_json import BadJsonError

_BLANKS = re.compile(rb"[ \t\n\r]*+").match
_NEXT_BRACKET = re.compile(
    rb'[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"{}\[\]]*+)*+([{}\[\]])', re.DOTALL
).match


def split_lines(body: bytes) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, bytes) of each line that is not blank."""
    number, start = 0, 0
    while start < len(body):
        end = body.find(b"\n", start)
        end = len(body) if end < 0 else end
        number += 1
        line = body[start:end].strip(b" \t\r")
        if line:
            yield number, line
        start = end + 1


def split_array(body: bytes) -> Iterator[tuple[int, bytes]]:
    """(index from 0, bytes) of each object in a JSON array. What is within an object is looked at no further than to
    find its end. Raises BadJsonError where the array itself is wrong or holds something else than objects."""
    at = _skip(body, 0)
    if body[at : at + 1] != b"[":
        raise _wrong(body, at, "expecting [, the beginning of a JSON array of CloudEvents")
    at = _skip(body, at + 1)
    index = 0
    more = body[at : at + 1] != b"]"
    while more:
        if body[at : at + 1] != b"{":
            raise _wrong(body, at, f"expecting {{, the beginning of the CloudEvent with index {index}")
        end = _end_of_object(body, at)
        yield index, body[at:end]
        index += 1
        at = _skip(body, end)
        more = body[at : at + 1] == b","
        at = _skip(body, at + 1) if more else at
    if body[at : at + 1] != b"]":
        raise _wrong(body, at, "expecting , or ] behind a CloudEvent")
    at = _skip(body, at + 1)
    if at != len(body):
        raise _wrong(body, at, "something stands behind the array")


def _skip(body: bytes, at: int) -> int:
    found = _BLANKS(body, at)
    return at if found is None else found.end()


def _end_of_object(body: bytes, at: int) -> int:
    depth = 0
    while True:
        found = _NEXT_BRACKET(body, at)
        if found is None:
            raise _wrong(body, len(body), "the body ends within a CloudEvent")
        at = found.end()
        depth += 1 if found[1] in b"{[" else -1
        if depth == 0:
            return at


def _wrong(body: bytes, at: int, detail: str) -> BadJsonError:
    line_start = body.rfind(b"\n", 0, at) + 1
    column = len(body[line_start:at].decode("utf-8", "replace")) + 1
    return BadJsonError(detail, body.count(b"\n", 0, at) + 1, column)
