"""The event in a message with its tokens opened, for whoever has the folder of keys."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from schemas.events import Event
from schemas.shredding.cipher import SUBJECT_ID, BadTokenError, SubjectKey
from schemas.shredding.token import Token, read_token
from services.common.shredding.keys import Destroyed, SubjectKeys
from services.common.shredding.reading import read_declared

_MEMBERS = ("data", "event_data")


class State(StrEnum):
    """What became of one token."""

    OPENED = "opened"
    """It is what was encrypted here: authentic by the key, and fitting its commitment."""
    DESTROYED = "destroyed"
    UNKNOWN = "unknown-key"
    BAD = "bad"


class Field(NamedTuple):
    """A token of an event: at which place, under which key, what became of it, and why if it could not be opened."""

    place: str
    key_id: str
    state: State
    why: str


class Opener:
    """Opens one event. `fields` has every token that was met, in their order."""

    def __init__(self, keys: SubjectKeys) -> None:
        self._keys = keys
        self.fields: list[Field] = []

    def event(self, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]) -> Any:
        """The event as JSON, a binary one too; what cannot be opened stays a token. Raises PoisonError, and TransientError
        where the keys cannot be read."""
        event = read_declared(value, headers)
        return (
            self._members(_whole(event))
            if event.form in ("structured", "binary", "short")
            else self._in(event.raw, ())
        )

    def _members(self, event: dict[str, Any]) -> dict[str, Any]:
        return {
            name: self._in(item, () if name in _MEMBERS else (f"@{name}",)) for name, item in event.items()
        }

    def _in(self, value: Any, place: tuple[str, ...]) -> Any:
        if type(value) is dict:
            return {name: self._in(item, (*place, name)) for name, item in value.items()}
        if type(value) is list:
            return [self._in(item, place) for item in value]
        token = read_token(value)
        return value if token is None else self._opened(token, ".".join(place))

    def _opened(self, token: Token, place: str) -> Any:
        key = self._keys.by_id(token.key_id)
        value: Any = str(token)
        if isinstance(key, SubjectKey):
            state, why, value = _try(key, token, place)
        elif isinstance(key, Destroyed):
            state, why = State.DESTROYED, f"its key was destroyed {key.at} (request {key.request})"
        else:
            state, why = (
                State.UNKNOWN,
                "SUBJECT_KEYS_DIR has no such key, nor that it was destroyed: is it the right folder?",
            )
        self.fields.append(Field(place, token.key_id, state, why))
        return value


def _try(key: SubjectKey, token: Token, place: str) -> tuple[State, str, Any]:
    why = ""
    for where in (place, SUBJECT_ID):
        try:
            return State.OPENED, "", key.open(token, where)
        except BadTokenError as error:
            why = why or str(error)
    return State.BAD, why, str(token)


def _whole(event: Event) -> dict[str, Any]:
    """The event as one object: a binary one as the JSON format would have it."""
    if event.form != "binary":
        return dict(event.raw)
    data = event.data
    return event.attributes | {
        "data": data.decode("utf-8", "backslashreplace") if isinstance(data, bytes) else data
    }
