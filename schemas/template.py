"""Sentences with places for values: `User {user_id} exported {dataset_id}[ (reason: {export_reason})]`.

`{path}` is a value of the event's data, `{a|b}` the first that is there, `{@actor}` one of the mapped facts or
attributes. A part in [ ] is left out where one of its values is missing; elsewhere a missing value reads `unknown`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from schemas.paths import compile_paths
from schemas.text import is_secret, plain, quoted

FACTS = ("actor", "action", "resource", "origin", "outcome", "type", "source", "subject")
MASK = "***"
UNKNOWN = "unknown"

Values = Callable[[dict[str, Any], "Facts"], Any]
_PLACE = re.compile(r"\{([^{}]*)\}")
_GROUP = re.compile(r"\[([^\[\]]*)\]")


class Facts(NamedTuple):
    """What mapping and attributes say of an event, as neutral text."""

    actor: str | None = None
    action: str | None = None
    resource: str | None = None
    origin: str | None = None
    outcome: str | None = None
    type: str = ""
    source: str = ""
    subject: str | None = None


class _Place(NamedTuple):
    before: str
    value: Values
    masked: bool
    enclosed: bool


class _Group(NamedTuple):
    optional: bool
    places: tuple[_Place, ...]
    after: str


class Template:
    """A compiled sentence. Raises ValueError, which says what is wrong with it."""

    def __init__(self, text: str, *, masked: frozenset[str] = frozenset()) -> None:
        self.text = text
        self._groups: list[_Group] = []
        end = 0
        for match in _GROUP.finditer(text):
            self._add(text[end : match.start()], masked, optional=False)
            self._add(match.group(1), masked, optional=True)
            end = match.end()
        self._add(text[end:], masked, optional=False)

    def _add(self, text: str, masked: frozenset[str], *, optional: bool) -> None:
        if not text:
            return
        places, end = [], 0
        for match in _PLACE.finditer(text):
            places.append(_place(text, text[end : match.start()], match, masked))
            end = match.end()
        after = text[end:]
        if any(bracket in after or any(bracket in place.before for place in places) for bracket in "{}[]"):
            raise ValueError(f"brackets do not match in {self.text!r}")
        if optional and not places:
            raise ValueError(f"a part in [ ] needs a {{value}}: {self.text!r}")
        self._groups.append(_Group(optional, tuple(places), after))

    def fill(self, data: dict[str, Any], facts: Facts) -> str:
        """The sentence for one event: values are neutral, bounded and, where they are not one word, quoted."""
        parts: list[str] = []
        for group in self._groups:
            start = len(parts)
            for place in group.places:
                text = plain(place.value(data, facts))
                if text is None:
                    if group.optional:
                        del parts[start:]
                        break
                    text = UNKNOWN
                elif place.masked:
                    text = MASK
                parts.append(place.before)
                parts.append(quoted(text, enclosed=place.enclosed))
            else:
                parts.append(group.after)
        return "".join(parts)

    def compose(self, data: dict[str, Any], limit: int) -> str:
        """As `fill`, for names (source, type): nothing is quoted; empty where a value outside of [ ] is missing."""
        parts: list[str] = []
        for group in self._groups:
            found = [plain(place.value(data, _NO_FACTS), limit) for place in group.places]
            if None in found:
                if group.optional:
                    continue
                return ""
            for place, text in zip(group.places, found, strict=True):
                parts += (place.before, text or "")
            parts.append(group.after)
        return "".join(parts)


_NO_FACTS = Facts()


def sentence(text: str, masked: frozenset[str] = frozenset()) -> Template:
    """The template of a summary: where it says neither origin nor outcome itself, they follow at the end."""
    origin = "" if "{@origin}" in text else "[ from {@origin}]"
    outcome = "" if "{@outcome}" in text else "[ ({@outcome})]"
    return Template(text + origin + outcome, masked=masked)


def _place(text: str, before: str, match: re.Match[str], masked: frozenset[str]) -> _Place:
    names = match.group(1).split("|")
    if not all(names):
        raise ValueError(f"an empty {{}} in {text!r}")
    enclosed = text.rfind("(", 0, match.start()) > text.rfind(")", 0, match.start())
    if names[0].startswith("@"):
        return _Place(before, _fact(names[0][1:]), masked=False, enclosed=enclosed)
    getter = compile_paths(names)

    def value(data: dict[str, Any], _facts: Facts) -> Any:
        return getter(data)

    return _Place(before, value, any(is_secret(name) or name in masked for name in names), enclosed)


def _fact(name: str) -> Values:
    if name not in FACTS:
        raise ValueError(f"{{@{name}}} is not one of {', '.join('@' + fact for fact in FACTS)}")
    position = Facts._fields.index(name)

    def value(_data: dict[str, Any], facts: Facts) -> Any:
        return facts[position]

    return value
