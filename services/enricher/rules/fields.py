"""The fields of rules: where each stands in an event of one log source.

`ce.type`, `ce.source`, `ce.subject`, `ce.id`, `ce.time` are the CloudEvents attributes, `ce.tags` what was odd about the
event (`catalog:incomplete`), `ce.words` the words that say what was done, `ce.own_severity`, `ce.own_status` and `ce.new_state`
what the event says about itself (circumstances.py),
`ce.outcome` what came of it by the mapping (`success`, `failure: AccessDenied`), any other `ce.NAME` an extension attribute. All
else is a path in the event's data, by the log source's own names or through the aliases of its mapping. An alias is a
list of paths, of which the first that finds something counts, a template (`{id.applicationName}.googleapis.com`), or a
mapped fact (`@outcome`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from schemas.codegen import Code
from schemas.events import Event
from schemas.mapping import Mapping, WhoReader
from schemas.paths import compile_paths, compile_presence
from schemas.template import Name
from services.enricher.rules.circumstances import FACTS, fact_reader
from services.enricher.rules.words import words_reader

ATTRIBUTE_PREFIX = "ce."
WORDS = "ce.words"
OUTCOME = "ce.outcome"
_OWN = ("type", "source", "subject", "id", "time", "tags")
_FACT_READERS = {name: fact_reader(name) for name in FACTS}
_FACTS = ("@actor", "@action", "@resource", "@origin", "@outcome")
_VALUE_LIMIT = 2048

Reader = Callable[[dict[str, Any], Event], Any]


class Access(NamedTuple):
    """How a predicate reads a field: an expression over `d` (data) and `e` (event), `{}` where its constant goes."""

    expression: str
    constant: Any


class Fields:
    """The fields of one log source; `aliases` maps a rule's name to the paths of the data, `words` are the paths of
    `ce.words`, `who` reads the mapped facts."""

    def __init__(
        self, aliases: dict[str, list[str]], words: Sequence[str] = (), who: WhoReader | None = None
    ) -> None:
        self._aliases = aliases
        self._who = who
        self._words = words_reader(words)

    @classmethod
    def of(cls, mapping: Mapping) -> Fields:
        """The fields of a mapping's events."""
        return cls(mapping.fields, mapping.words, mapping.who)

    def paths(self, field: str) -> list[str]:
        """The paths in the data, or templates, by which a rule's field is found; none for an attribute."""
        return [] if field.startswith(ATTRIBUTE_PREFIX) else self._aliases.get(field, [field])

    def mapped(self, field: str) -> bool:
        """Whether the mapping says where a rule's field stands."""
        return field in self._aliases

    def there(self, field: str) -> Reader:
        """A function that tells whether an event has a field, with whatever value."""
        access, code = self.presence(field), Code()
        made: Reader = code.function("d, e", access.expression.format(code.constant(access.constant)))
        return made

    def keys(self, field: str) -> frozenset[str] | None:
        """The keys of which an event's data has one at the top wherever the field is there; None where that is not said
        by keys (attributes, templates)."""
        paths = self.paths(field)
        if not paths or (field in self._aliases and any(_is_made(path) for path in paths)):
            return None
        return frozenset(key for path in paths for key in (path, path.partition(".")[0]))

    def access(self, field: str) -> Access:
        """The expression for a field's value."""
        if field.startswith(ATTRIBUTE_PREFIX):
            return self._attribute(field[len(ATTRIBUTE_PREFIX) :])
        paths = self._aliases.get(field, [field])
        if len(paths) == 1:
            if "." not in paths[0] and not _is_made(paths[0]):
                return Access("d.get({})", paths[0])
            if field in self._aliases and _is_made(paths[0]):
                return Access("{}(d, e)", self._made(paths[0]))
        return Access("{}(d)", compile_paths(paths))

    def _attribute(self, name: str) -> Access:
        if name in _OWN:
            return Access(f"e.{name}", None)
        made = {"words": self._words, "outcome": self._made("@outcome")} | _FACT_READERS
        return Access("{}(d, e)", made[name]) if name in made else Access("e.attributes.get({})", name)

    def reader(self, field: str) -> Reader:
        """A function for a field's value."""
        access, code = self.access(field), Code()
        reader: Reader = code.function("d, e", access.expression.format(code.constant(access.constant)))
        return reader

    def presence(self, field: str) -> Access:
        """The expression for whether a field is there, with whatever value."""
        paths = self._aliases.get(field, [field])
        if field.startswith(ATTRIBUTE_PREFIX) or (field in self._aliases and _is_made(paths[0])):
            reader = self.reader(field)
            return Access("{}(d, e)", lambda data, event: reader(data, event) not in (None, "", []))
        if len(paths) == 1 and "." not in paths[0]:
            return Access("({} in d)", paths[0])
        there = [compile_presence(path) for path in paths]
        return Access("{}(d)", lambda data: any(test(data) for test in there))

    def _made(self, alias: str) -> Reader:
        """The reader of a template or a mapped fact."""
        if alias in _FACTS:
            who, fact = self._who, alias[1:]
            return lambda data, event: None if who is None else getattr(who(data, event), fact)
        compose = Name(alias, _VALUE_LIMIT).compose
        return lambda data, _event: compose(data) or None


def _is_made(alias: str) -> bool:
    return "{" in alias or alias in _FACTS
