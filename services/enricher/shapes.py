"""Shapes: events that one AI reading can speak for. Pure.

A shape is what events have in common that decides what they mean: event type, log source, which facts are known, and the
values of the discriminators. What a mapping or the catalogue does not name is optional and folded away. Where neither
knows the event, the key paths of its data with their types count too: nulls, the contents of lists, and keys that are
ids, dates or ARNs are folded.

Key paths alone mislead: of 216 sets of them in labelled real events, 129 hold both alerts and non-alerts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from schemas.catalog import CATALOG, CatalogEntry
from schemas.codegen import Code
from schemas.enrichment import Who, clean
from schemas.mapping import GENERIC, Mapping
from schemas.paths import source_of
from schemas.text import is_secret, plain

TYPE_LIMIT = 200
VALUE_LIMIT = 64
"""Characters of an event type and of a discriminator's value; longer values end with a hash."""
FIELDS_LIMIT = 8
"""Discriminators that are found without a mapping; with more there is no shared reading."""
PATHS_LIMIT, _DEPTH, _KEYS_LIMIT = 100, 5, 24
NAME_LENGTH = 40
"""Characters of a key; longer ones are no names, and not remembered either: a key may be a megabyte."""
FACTS = ("actor", "action", "resource", "origin", "outcome")

_DISCRIMINATORS = re.compile(
    r"(?:^|[_.-]|(?<=[a-z]))(?:action|operation|method|verb|status|state|result|outcome|decision|severity|level|success)"
    r"(?:_?(?:name|code|type))?$",
    re.IGNORECASE,
)
_NO_NAME = re.compile(
    r"\d{3,}|^\d|[0-9a-f]{8}-[0-9a-f]{4}|arn:|@|[^\w.$:-]|(?=.*\d)[0-9A-Fa-f]{8,}", re.IGNORECASE
)
_TYPES = {str: "text", int: "number", float: "number", bool: "boolean"}
_TELLING = frozenset({bool, type(None)})
"""Values of these types are discriminators, whatever their keys."""
_REMEMBERED, _KEYS_LENGTH = 4096, 1000
"""Sets of keys that are remembered, and characters of one of them."""
_PRESENT = [tuple(name for bit, name in enumerate(FACTS) if bits >> bit & 1) for bits in range(32)]
Kind = Mapping | CatalogEntry


class Shape(NamedTuple):
    """`facts` are the mapped facts that its events know; `paths` are folded, with types; `values` are those of the
    discriminators `fields`, and last the outcome."""

    type: str
    source: str
    facts: tuple[str, ...]
    paths: tuple[str, ...]
    fields: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def key(self) -> str:
        """32 hex digits that name it on audit.shapes."""
        return sha256(msgspec.json.encode(self)).hexdigest()[:32]

    @property
    def family(self) -> tuple[Any, ...]:
        """The shapes that differ from it only by values, or by which facts are known."""
        return (self.type, self.source, self.paths, self.fields)


class Shapes:
    """Finds the shape of events; remembers how for each mapping."""

    def __init__(self) -> None:
        self._readers: dict[
            int, tuple[Kind, tuple[str, ...], Callable[[dict[str, Any]], tuple[str, ...]]]
        ] = {}
        self._named: dict[tuple[str, ...], bool] = {}
        self._plain: dict[tuple[str, int, str], Shape] = {}

    def of(self, kind: Kind, event_type: str, data: dict[str, Any], who: Who) -> Shape | None:
        """The shape of one event; None where no reading can be shared."""
        if len(event_type) > TYPE_LIMIT or not event_type.isprintable():
            event_type = clean(event_type, TYPE_LIMIT)
        bits = (
            (who.actor is not None)
            | (who.action is not None) << 1
            | (who.resource is not None) << 2
            | (who.origin is not None) << 3
            | (who.outcome is not None) << 4
        )
        outcome = who.outcome or ""
        if len(outcome) > VALUE_LIMIT:
            outcome = _text(outcome)
        if type(kind) is CatalogEntry:
            keys = tuple(data)
            named = self._named.get(keys)
            if named is None:
                named = self._names_actions(keys)
            if named or not _TELLING.isdisjoint(map(type, data.values())):
                return _catalogued(event_type, data, bits, outcome)
            return self._plain.get((event_type, bits, outcome)) or self._without_fields(
                event_type, bits, outcome
            )
        if kind is GENERIC:
            return _discovered(event_type, data, bits, outcome)
        _, fields, values = self._readers.get(id(kind)) or self._reader(kind)  # type: ignore[arg-type]  # a Mapping
        return Shape(event_type, kind.log_source, _PRESENT[bits], (), fields, (*values(data), outcome))

    def _names_actions(self, keys: tuple[str, ...]) -> bool:
        """Whether one of an event's keys is named like a discriminator; remembered, if they are not very long."""
        named = any(len(key) <= NAME_LENGTH and _names_an_action(key) for key in keys)
        if len(self._named) >= _REMEMBERED:
            self._named.clear()
        if sum(map(len, keys)) <= _KEYS_LENGTH:
            self._named[keys] = named
        return named

    def _without_fields(self, event_type: str, bits: int, outcome: str) -> Shape:
        """The shape of a catalogue's event without discriminators, remembered: nearly all have none."""
        made = Shape(event_type, CATALOG, _PRESENT[bits], (), (), (outcome,))
        if len(self._plain) >= _REMEMBERED:
            self._plain.clear()
        self._plain[event_type, bits, outcome] = made
        return made

    def _reader(
        self, kind: Mapping
    ) -> tuple[Kind, tuple[str, ...], Callable[[dict[str, Any]], tuple[str, ...]]]:
        code = Code(text=_text, len=len)
        each = "".join(
            f"(v if type(v := {source_of(code, [path])}) is str and len(v) <= {VALUE_LIMIT} and v.isprintable() else "
            "'' if v is None else text(v)),"
            for path in kind.discriminators
        )
        # With the kind itself, so that its id stays its own.
        made = (kind, tuple(kind.discriminators), code.function("d", f"({each})"))
        self._readers[id(kind)] = made
        return made


def placeholders(kind: Kind, shape: Shape) -> tuple[str, ...]:
    """What a shared reading may name: the facts that all events of the shape know, and required fields of a
    catalogue entry, but for those that are withheld."""
    fields = kind.fields if isinstance(kind, CatalogEntry) else ()
    named = [
        field
        for field in fields
        if field not in FACTS
        and field.isidentifier()
        and field.isascii()
        and len(field) <= VALUE_LIMIT
        and not is_secret(field)
        and field not in kind.sensitive  # type: ignore[union-attr]  # only an entry has fields
    ]
    return (*shape.facts, *named)


def as_shape(raw: Any) -> Shape:
    """The reverse of a shape's JSON. Raises msgspec.ValidationError."""
    return msgspec.convert(raw, Shape)


def _catalogued(event_type: str, data: dict[str, Any], bits: int, outcome: str) -> Shape | None:
    """An event of the catalogue: what is not required is optional, so only the discriminators at the top tell."""
    found = [
        (key, "null" if value is None else _text(value))
        for key, value in data.items()
        if len(key) <= NAME_LENGTH
        and (value is None or type(value) is bool or (type(value) in _TYPES and _names_an_action(key)))
        and fold(key) != "*"
    ]
    return _told_apart(event_type, CATALOG, bits, (), found, outcome)


def _discovered(event_type: str, data: dict[str, Any], bits: int, outcome: str) -> Shape | None:
    """Without a mapping: booleans, nulls and fields that are named like an action or a result tell events apart."""
    found: list[tuple[str, str]] = []
    paths: set[str] = set()
    for path, value in _leaves(data, "", _DEPTH):
        kind = type(value)
        if value is None or kind is bool or (kind in _TYPES and _names_an_action(path)):
            found.append((path, "null" if value is None else _text(value)))
        if value is not None:
            paths.add(f"{path}:{_TYPES.get(kind, 'list' if kind is list else 'object')}")
            if len(paths) > PATHS_LIMIT:
                return None
    return _told_apart(event_type, GENERIC.log_source, bits, tuple(sorted(paths)), found, outcome)


def _told_apart(
    event_type: str,
    source: str,
    bits: int,
    paths: tuple[str, ...],
    found: list[tuple[str, str]],
    outcome: str,
) -> Shape | None:
    pairs = sorted((path, value) for path, value in found if "*" not in path)
    if len(pairs) > FIELDS_LIMIT:
        return None
    fields, values = tuple(path for path, _ in pairs), tuple(value for _, value in pairs)
    return Shape(event_type, source, _PRESENT[bits], paths, fields, (*values, outcome))


def _leaves(value: dict[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    """Folded paths and values; an object that is too deep, and a list, count as one value."""
    many = len(value) > _KEYS_LIMIT
    for key, item in value.items():
        path = prefix + ("*" if many and prefix else fold(key))
        if type(item) is dict and depth > 1:
            yield from _leaves(item, path + ".", depth - 1)
        else:
            yield path, item


def fold(key: str) -> str:
    """A key as it stands in a path: `*` where it is an id, a date, an ARN or no name at all."""
    return _folded(key) if len(key) <= NAME_LENGTH else "*"


@lru_cache(maxsize=8192)
def _folded(key: str) -> str:
    return "*" if _NO_NAME.search(key) is not None or not key else key


@lru_cache(maxsize=8192)
def _names_an_action(path: str) -> bool:
    return _DISCRIMINATORS.search(path.rsplit(".", 1)[-1]) is not None


def _text(value: Any) -> str:
    """A discriminator's value as bounded text: empty where there is none."""
    if type(value) is str:
        if len(value) <= VALUE_LIMIT and value.isprintable():
            return value
    elif value is None:
        return ""
    text = value if type(value) is str else plain(value, 4 * VALUE_LIMIT) or type(value).__name__
    if len(text) <= VALUE_LIMIT:
        return clean(text, VALUE_LIMIT)
    return f"{clean(text, VALUE_LIMIT - 9)}{sha256(text.encode('utf-8', 'replace')).hexdigest()[:8]}"
