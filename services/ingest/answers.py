"""What a request is answered with."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec


class Answer(NamedTuple):
    """Status, headers in lower case, body."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def json_answer(status: int, content: Any) -> Answer:
    """An answer in JSON."""
    return Answer(status, [(b"content-type", b"application/json")], msgspec.json.encode(content))
