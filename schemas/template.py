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
from schemas.paths import source_of
from schemas.text import VALUE_LIMIT, is_secret, phrase, plain, short_phrase, short_word, word

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
        code = Code(word=word, phrase=phrase, short_word=short_word, short_phrase=short_phrase, len=len)
        groups = _parse(text)
        body = "".join(f"{{{_source(code, group, masked)}}}" for group in groups)
        self.fill: Callable[[dict[str, Any], Who, Event], str] = code.function("d, w, e", f'f"{body}."')
        """The sentence for one event: values are neutral, bounded and, where they are not one word, quoted."""


class Name:
    """A compiled template for a source or an event type: values as they are, made neutral, `limit` characters each.
    Raises ValueError."""

    def __init__(self, text: str, limit: int) -> None:
        code = Code(plain=plain)
        body, missing = "", []
        for number, group in enumerate(_parse(text)):
            if any(name.startswith("@") for place in group.places for name in place.names):
                raise ValueError(f"{{@…}} stands only in summaries: {text!r}")
            values = [
                f"plain({source_of(code, place.names)}, {code.constant(limit)})" for place in group.places
            ]
            source, absent = _joined(code, group, values, f"g{number}_")
            if group.optional:
                source = f"({code.constant('')} if {absent} else {source})"
            elif absent:
                missing.append(absent)
            body += f"{{{source}}}"
        whole = f'f"{body}"'
        if missing:
            whole = f"({code.constant('')} if {' or '.join(missing)} else {whole})"
        self.compose: Callable[[dict[str, Any]], str] = code.function("d", whole)
        """The name for one event; empty where a value outside of [ ] is missing."""


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
    """The expression for one part of a sentence, empty where a value of a part in [ ] is missing."""
    values = [_shown(code, place, masked) for place in group.places]
    if not group.optional:
        values = [f"({value} or {code.constant(MISSING)})" for value in values]
        return _plainly(code, group, values)
    source, absent = _joined(code, group, values, "v")
    return f"({code.constant('')} if {absent} else {source})"


def _plainly(code: Code, group: _Group, values: list[str]) -> str:
    """An f-string of names: the texts between the values, and the values."""
    pieces = "".join(
        (f"{{{code.constant(place.before)}}}" if place.before else "") + f"{{{value}}}"
        for place, value in zip(group.places, values, strict=True)
    )
    after = f"{{{code.constant(group.after)}}}" if group.after else ""
    return f"f'{pieces}{after}'"


def _joined(code: Code, group: _Group, values: list[str], prefix: str) -> tuple[str, str]:
    """As `_plainly`, with the test of whether a value is missing, which has to come first: it sets the names."""
    names = [f"{prefix}{number}" for number in range(len(values))]
    absent = " or ".join(f"({name} := {value}) is None" for name, value in zip(names, values, strict=True))
    return _plainly(code, group, names), absent


def _shown(code: Code, place: _Place, masked: frozenset[str]) -> str:
    """The expression for one value as people see it; short texts, the usual case, take the short way."""
    kind = "phrase" if place.enclosed else "word"
    value, limit = _value(code, place), code.constant(VALUE_LIMIT)
    if any(is_secret(name) or name in masked for name in place.names):
        return f"(None if {kind}({value}) is None else {code.constant(MASK)})"
    short = f"short_{kind}(v) if type(v) is str and len(v) <= {limit}"
    return f"(None if (v := {value}) is None else {short} else {kind}(v))"


def _value(code: Code, place: _Place) -> str:
    first = place.names[0]
    if not first.startswith("@"):
        return source_of(code, place.names)
    if first[1:] not in FACTS or len(place.names) > 1:
        raise ValueError(
            f"{{{'|'.join(place.names)}}} is not one of {', '.join('@' + fact for fact in FACTS)}"
        )
    return FACTS[first[1:]]
