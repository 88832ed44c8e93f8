"""Sentences with places for values: `User {user_id} exported {dataset_id}[ (reason: {export_reason})]`.

`{path}` is a value of the event's data, `{a|b}` the first that is there, `{@actor}` one of the mapped facts or
attributes. A part in [ ] is left out where one of its values is missing; elsewhere a missing value reads `unknown`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from schemas.codegen import Code
from schemas.enrichment import Who
from schemas.events import Event
from schemas.paths import Getter, compile_paths
from schemas.text import is_secret, phrase, plain, word

FACTS = {
    "actor": "w.actor",
    "action": "w.action",
    "resource": "w.resource",
    "origin": "w.origin",
    "outcome": "w.outcome",
    "type": "e.type",
    "source": "e.source",
    "subject": "e.subject",
}
MASK = "***"
MISSING = "unknown"

_PLACE = re.compile(r"\{([^{}]*)\}")
_GROUP = re.compile(r"\[([^\[\]]*)\]")


class _Place(NamedTuple):
    """A value in a template: the text before it, its paths (or one `@fact`), and whether it stands in brackets."""

    before: str
    names: list[str]
    enclosed: bool


class _Group(NamedTuple):
    optional: bool
    places: list[_Place]
    after: str


class Sentence:
    """A compiled template for people. `masked`: paths beside those of secrets that are never shown. Raises ValueError,
    which says what is wrong with the template."""

    def __init__(self, text: str, masked: frozenset[str] = frozenset()) -> None:
        code = Code(word=word, phrase=phrase)
        groups = _parse(text)
        body = "".join(f"{{{_source(code, group, masked)}}}" for group in groups)
        self._fill: Callable[[dict[str, Any], Who, Event], str] = code.function("d, w, e", f'f"{body}."')

    def fill(self, data: dict[str, Any], who: Who, event: Event) -> str:
        """The sentence for one event: values are neutral, bounded and, where they are not one word, quoted."""
        return self._fill(data, who, event)


class Name:
    """A compiled template for a source or an event type: values as they are, made neutral. Raises ValueError."""

    def __init__(self, text: str) -> None:
        self._groups: list[tuple[bool, list[tuple[str, Getter]], str]] = []
        for optional, places, after in _parse(text):
            if any(name.startswith("@") for place in places for name in place.names):
                raise ValueError(f"{{@…}} stands only in summaries: {text!r}")
            getters = [(place.before, compile_paths(place.names)) for place in places]
            self._groups.append((optional, getters, after))

    def compose(self, data: dict[str, Any], limit: int) -> str:
        """The name for one event; empty where a value outside of [ ] is missing."""
        parts: list[str] = []
        for optional, places, after in self._groups:
            found = [plain(getter(data), limit) for _, getter in places]
            if None in found:
                if optional:
                    continue
                return ""
            for (before, _), text in zip(places, found, strict=True):
                parts += (before, text or "")
            parts.append(after)
        return "".join(parts)


def sentence(text: str, masked: frozenset[str] = frozenset()) -> Sentence:
    """The template of a summary: where it says neither origin nor outcome itself, they follow at the end."""
    origin = "" if "{@origin}" in text else "[ from {@origin}]"
    outcome = "" if "{@outcome}" in text else "[ ({@outcome})]"
    return Sentence(text + origin + outcome, masked)


def _parse(text: str) -> list[_Group]:
    groups, end = [], 0
    for match in _GROUP.finditer(text):
        groups += [
            _group(text, text[end : match.start()], optional=False),
            _group(text, match[1], optional=True),
        ]
        end = match.end()
    groups.append(_group(text, text[end:], optional=False))
    return [group for group in groups if group.places or group.after]


def _group(whole: str, text: str, *, optional: bool) -> _Group:
    places, end = [], 0
    for match in _PLACE.finditer(text):
        names = match[1].split("|")
        if not all(names):
            raise ValueError(f"an empty value in {whole!r}")
        enclosed = text.rfind("(", 0, match.start()) > text.rfind(")", 0, match.start())
        places.append(_Place(text[end : match.start()], names, enclosed))
        end = match.end()
    after = text[end:]
    if any(bracket in piece for piece in (after, *(place.before for place in places)) for bracket in "{}[]"):
        raise ValueError(f"brackets do not match in {whole!r}")
    if optional and not places:
        raise ValueError(f"a part in [ ] needs a {{value}}: {whole!r}")
    return _Group(optional, places, after)


def _source(code: Code, group: _Group, masked: frozenset[str]) -> str:
    """The expression for one part of a sentence: an f-string of names, empty where a value of a part in [ ] is
    missing."""
    pieces, absent = "", []
    for number, place in enumerate(group.places):
        shown = f"{'phrase' if place.enclosed else 'word'}({_value(code, place)})"
        if any(is_secret(name) or name in masked for name in place.names):
            shown = f"(None if {shown} is None else {code.constant(MASK)})"
        if group.optional:
            absent.append(f"(v{number} := {shown}) is None")
            shown = f"v{number}"
        else:
            shown = f"{shown} or {code.constant(MISSING)}"
        pieces += (f"{{{code.constant(place.before)}}}" if place.before else "") + f"{{{shown}}}"
    whole = f"f'{pieces}" + (f"{{{code.constant(group.after)}}}'" if group.after else "'")
    return f"({code.constant('')} if {' or '.join(absent)} else {whole})" if group.optional else f"({whole})"


def _value(code: Code, place: _Place) -> str:
    first = place.names[0]
    if first.startswith("@"):
        if first[1:] not in FACTS or len(place.names) > 1:
            raise ValueError(
                f"{{{'|'.join(place.names)}}} is not one of {', '.join('@' + fact for fact in FACTS)}"
            )
        return FACTS[first[1:]]
    if len(place.names) == 1 and "." not in first:
        return f"d.get({code.constant(first)})"
    return f"{code.constant(compile_paths(place.names))}(d)"
