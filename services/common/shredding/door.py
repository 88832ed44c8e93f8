"""The door that an event passes before it is sent: declared fields go in as values and come out as tokens.

Ingest, `piperoll emit` and apps that send over Kafka themselves use the same one:

    door = open_door(Path("subject-fields.yaml"), Path("/keys/subjects"))
    key, value, headers = door.encrypt(Message(key, value, headers))      # then producer.send(…)

Nothing declared leaves in the clear: where a field cannot be encrypted the event is refused.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from schemas.cloudevents import KAFKA_PREFIX
from schemas.events import TAG_DUPLICATE_KEY, Event, PoisonError, is_json
from schemas.paths import compile_path
from schemas.shredding.cipher import SUBJECT_ID, SubjectKey, canonical
from schemas.shredding.places import Spot, Tree, find_spots, replaced
from services.common.errors import ConfigurationError
from services.common.shredding.keys import SubjectKeys
from services.common.shredding.reading import read_declared
from services.common.shredding.rules import Rule, read_rules
from services.common.shredding.settings import SubjectKeySettings

KEY_SECONDS = 2.0
"""How long a key that was read is used: so long a destroyed one may still encrypt, and never open, what comes meanwhile."""
_KEYS_HELD = 20_000
_KINDS_HELD, _NAMES_LIMIT = 4096, 1024
_MEMBERS = ("data", "event_data")
_BINARY = KAFKA_PREFIX

Headers = list[tuple[str, bytes]]


class RefusedError(ValueError):
    """An event whose declared fields cannot be encrypted: the sender's fault, at `path`. The text says what to do."""

    def __init__(self, path: str, text: str) -> None:
        super().__init__(text)
        self.path = path


class Message(NamedTuple):
    """A message for audit.events."""

    key: bytes | None
    value: bytes | None
    headers: Headers


class _Kind(NamedTuple):
    """The rules for events of one source and type, and where in each form of an event their fields stand."""

    rules: list[Rule]
    structured: Tree
    data: Tree
    attributes: dict[str, int]
    """Attributes of a binary CloudEvent, and by which rule."""
    first_path: str
    """A declared field of the data; empty where there are attributes only."""


class Door:
    """Thread-safe. `counted` is told how many values of an event were encrypted."""

    def __init__(
        self, rules: Sequence[Rule], keys: SubjectKeys, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.keys = keys
        self.counted: Callable[[int], None] = lambda _count: None
        self._rules = list(rules)
        self._clock = clock
        self._held: dict[tuple[str, str], tuple[float, SubjectKey]] = {}
        self._lock = Lock()
        self._kind = lru_cache(_KINDS_HELD)(self._find_kind)

    def encrypt(self, message: Message) -> Message:
        """The message as it may be sent; itself where nothing in it is declared. Raises RefusedError, and TransientError
        where the keys cannot be reached."""
        try:
            event = read_declared(message.value, message.headers)
        except PoisonError as error:
            if message.value is None and not any(name.startswith(_BINARY) for name, _ in message.headers):
                return message  # there is nothing in it
            raise RefusedError(
                "",
                f"It cannot be looked into for what is to be encrypted ({error}): correct it. Nothing was recorded.",
            ) from None
        find = self._kind if len(event.source) + len(event.type) < _NAMES_LIMIT else self._find_kind
        kind = find(event.source, event.type)
        if kind is None:
            return message
        _must_be_readable(event, kind, message)
        tokens = _Tokens(self, kind.rules, event)
        value = tokens.in_value(message, kind)
        headers = tokens.in_headers(message.headers, kind.attributes)
        self.counted(tokens.count)
        return Message(tokens.known.get(message.key, message.key), value, headers)

    def key_of(self, subject: str, namespace: str) -> SubjectKey:
        """The subject's key, from memory if it was read within KEY_SECONDS."""
        now, name = self._clock(), (namespace, subject)
        held = self._held.get(name)
        if held is not None and now - held[0] < KEY_SECONDS:
            return held[1]
        key = self.keys.key_of(subject, namespace)
        with self._lock:
            if len(self._held) >= _KEYS_HELD:
                self._held.clear()
            self._held[name] = (now, key)
        return key

    def _find_kind(self, source: str, event_type: str) -> _Kind | None:
        rules = [rule for rule in self._rules if rule.covers(source, event_type)]
        if not rules:
            return None
        structured, data, attributes, first = Tree(), Tree(), dict[str, int](), ""
        for number, rule in enumerate(rules):
            for path in rule.fields:
                if path.startswith("@"):
                    attributes.setdefault(path[1:], number)
                    structured.add(path[1:], number)
                    continue
                first = first or path
                for tree in (data, *map(structured.below, _MEMBERS)):
                    tree.add(path, number)
        return _Kind(rules, structured, data, attributes, first)


class _Tokens:
    """Makes the tokens of one event. `known`: what was encrypted, as a Kafka key would have it, and its token."""

    def __init__(self, door: Door, rules: list[Rule], event: Event) -> None:
        self._door = door
        self._rules = rules
        self._event = event
        self._keys: dict[int, tuple[SubjectKey, str]] = {}
        self.known: dict[bytes | None, bytes] = {}
        self.count = 0

    def in_value(self, message: Message, kind: _Kind) -> bytes | None:
        form, value = self._event.form, message.value
        if value is None or (form == "binary" and not kind.first_path):
            return value
        tree = kind.structured if form in ("structured", "short") else kind.data
        text = value.decode("utf-8")
        spots = find_spots(text, tree)
        if not spots:
            return value
        if tree is kind.structured:
            spots = [spot._replace(place=_below(spot.place)) for spot in spots]
        return replaced(text, spots, [f'"{self._token(spot)}"' for spot in spots]).encode()

    def in_headers(self, headers: Headers, attributes: dict[str, int]) -> Headers:
        if not attributes:
            return headers
        made = []
        for name, content in headers:
            rule = attributes.get(name.removeprefix(_BINARY)) if name.startswith(_BINARY) else None
            if rule is not None and content is not None:
                text = content.decode("utf-8", "replace")
                spot = Spot(0, 0, f"@{name.removeprefix(_BINARY)}", rule, canonical(text))
                content = self._token(spot).encode()  # noqa: PLW2901 - the same header, encrypted
            made.append((name, content))
        return made

    def _token(self, spot: Spot) -> str:
        key, subject = self._key(spot)
        token = str(key.seal(spot.json, SUBJECT_ID if spot.json == subject else spot.place))
        self.count += 1
        self.known[spot.json.encode("utf-8", "surrogatepass")] = token.encode()
        if spot.json.startswith('"'):
            self.known[json.loads(spot.json).encode("utf-8", "surrogatepass")] = token.encode()
        return token

    def _key(self, spot: Spot) -> tuple[SubjectKey, str]:
        """The key of the rule's subject, and the subject's id as JSON."""
        found = self._keys.get(spot.rule)
        if found is None:
            rule = self._rules[spot.rule]
            found_ids = (_found(self._event, path) for path in rule.subject)
            subject = next((one for one in found_ids if one is not None and one != ""), None)
            if type(subject) is int:
                text, as_json = str(subject), str(subject)
            elif type(subject) is str and subject:
                text, as_json = subject, canonical(subject)
            else:
                paths = " or ".join(rule.subject)
                raise RefusedError(
                    rule.subject[0],
                    f"{spot.place} is personal data of the subject that {paths} names, and is encrypted under the subject's "
                    f"key: {paths} must be there, a text or a whole number. Nothing was recorded.",
                )
            found = self._keys[spot.rule] = self._door.key_of(text, rule.namespace), as_json
        return found


def _found(event: Event, path: str) -> Any:
    if path.startswith("@"):
        return event.attributes.get(path[1:])
    return compile_path(path)(event.data) if type(event.data) is dict else None


def _below(place: str) -> str:
    """A place in a structured event as one in its data, or `@name` for an attribute."""
    member, _, rest = place.partition(".")
    return rest if rest and member in _MEMBERS else f"@{place}"


def _must_be_readable(event: Event, kind: _Kind, message: Message) -> None:
    """Raises RefusedError where declared fields may stand in data that is not JSON."""
    if not kind.first_path or message.value is None:
        return
    structured_bytes = event.form == "structured" and event.attributes.get("data_base64") is not None
    binary_bytes = event.form == "binary" and event.data is message.value
    other_text = (
        event.form == "structured"
        and type(event.data) is str
        and not is_json(event.attributes.get("datacontenttype"))
    )
    if (
        structured_bytes
        or binary_bytes
        or other_text
        or _has_events(event)
        or TAG_DUPLICATE_KEY in event.tags
    ):
        raise RefusedError(
            kind.first_path,
            f"Events of source {event.source[:200]!r} and type {event.type[:200]!r} have fields that are encrypted here "
            f"({kind.first_path}), so their data must be JSON that can be read, each key once: send it as `data`, or as the body "
            "with Content-Type application/json, one event at a time. Nothing was recorded.",
        )


def _has_events(event: Event) -> bool:
    """Whether there are CloudEvents in what should be the data of one."""
    items = event.data if type(event.data) is list else [event.data]
    return event.form != "structured" and any(type(item) is dict and "specversion" in item for item in items)


def open_door(fields: Path, folder: Path) -> Door:
    """A door by a file of rules (SUBJECT_FIELDS) and a folder of keys (SUBJECT_KEYS_DIR). Raises ConfigurationError and
    TransientError."""
    return Door(read_rules(fields), SubjectKeys(folder, create=True))


def configured_door(settings: SubjectKeySettings) -> Door | None:
    """The door of the settings, None where neither is set. Raises ConfigurationError where only one is."""
    if settings.folder is None and settings.fields is None:
        return None
    if settings.folder is None or settings.fields is None:
        given, missing = "SUBJECT_KEYS_DIR", "SUBJECT_FIELDS, the file that says which fields are encrypted"
        if settings.folder is None:
            given, missing = "SUBJECT_FIELDS", "SUBJECT_KEYS_DIR, the folder of the subjects' keys"
        raise ConfigurationError(f"{given} is set without {missing}: set both, or neither to encrypt nothing")
    return open_door(settings.fields, settings.folder)
