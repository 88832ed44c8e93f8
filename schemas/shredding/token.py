"""How a ciphertext stands in an event, `shred:1:<key id>:<base64url>`, and what people are shown of it. Needs no keys."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from schemas.events import Event, read_judged, read_message

PREFIX = "shred:1:"
_MARK = PREFIX.encode()
_TOKEN = re.compile(r"shred:1:([0-9a-f]{32}):([A-Za-z0-9_-]{40,})").fullmatch
_SHOWN_DIGITS = 16


class Token(NamedTuple):
    """A token in its parts: `key_id` is 32 hex digits, `sealed` unpadded base64url."""

    key_id: str
    sealed: str

    def __str__(self) -> str:
        return f"{PREFIX}{self.key_id}:{self.sealed}"


def read_token(value: Any) -> Token | None:
    """The token that a JSON value is, None for anything else."""
    if type(value) is not str or not value.startswith(PREFIX):
        return None
    found = _TOKEN(value)
    return None if found is None else Token(found[1], found[2])


def shown(value: Any) -> Any:
    """A JSON value with `subject:<16 hex digits of the key id>` in place of each token: what sentences, figures and
    prompts can bear. Different values of one subject look the same in it."""
    if type(value) is str:
        token = read_token(value)
        return value if token is None else shown_as(token.key_id)
    if type(value) is dict:
        return {name: shown(item) for name, item in value.items()}
    return [shown(item) for item in value] if type(value) is list else value


def shown_as(key_id: str) -> str:
    """What is shown in place of a token with this key."""
    return f"subject:{key_id[:_SHOWN_DIGITS]}"


def read_shown(value: bytes | None, headers: Sequence[tuple[str, bytes | None]]) -> Event:
    """`read_judged`, with tokens as `shown` has them: for whoever judges events or tells of them. Raises PoisonError."""
    if value is not None and _MARK in value:
        event = read_message(value, headers)
        _show(event)
    else:
        event = read_judged(value, headers)
    if event.subject is not None and event.subject.startswith(PREFIX):
        event.subject = shown(event.subject)
    return event


def _show(event: Event) -> None:
    data, raw = event.data, event.raw
    event.raw = shown(raw)
    member = "data" if event.form == "structured" else "event_data"
    if data is raw:
        event.data = event.raw
    elif type(raw) is dict and raw.get(member) is data:
        event.data = event.raw[member]
    else:
        event.data = shown(data)
