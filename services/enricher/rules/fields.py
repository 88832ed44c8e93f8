"""The fields of rules: where each stands in an event of one log source.

`ce.type`, `ce.source`, `ce.subject`, `ce.id`, `ce.time` are the CloudEvents attributes, `ce.tags` what was odd about the
event (`catalog:incomplete`), any other `ce.NAME` an extension attribute. All else is a path in the event's data, by
the log source's own names or through the aliases of its mapping.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from schemas.codegen import Code
from schemas.events import Event
from schemas.paths import compile_paths, compile_presence

ATTRIBUTE_PREFIX = "ce."
_OWN = ("type", "source", "subject", "id", "time", "tags")

Reader = Callable[[dict[str, Any], Event], Any]


class Access(NamedTuple):
    """How a predicate reads a field: an expression over `d` (data) and `e` (event), `{}` where its constant goes."""

    expression: str
    constant: Any


class Fields:
    """The fields of one log source; `aliases` maps a rule's name to the paths of the data."""

    def __init__(self, aliases: dict[str, list[str]]) -> None:
        self._aliases = aliases

    def access(self, field: str) -> Access:
        """The expression for a field's value."""
        if field.startswith(ATTRIBUTE_PREFIX):
            name = field[len(ATTRIBUTE_PREFIX) :]
            return Access(f"e.{name}", None) if name in _OWN else Access("e.attributes.get({})", name)
        paths = self._aliases.get(field, [field])
        if len(paths) == 1 and "." not in paths[0]:
            return Access("d.get({})", paths[0])
        return Access("{}(d)", compile_paths(paths))

    def reader(self, field: str) -> Reader:
        """A function for a field's value."""
        access, code = self.access(field), Code()
        reader: Reader = code.function("d, e", access.expression.format(code.constant(access.constant)))
        return reader

    def presence(self, field: str) -> Access:
        """The expression for whether a field is there, with whatever value."""
        if field.startswith(ATTRIBUTE_PREFIX):
            reader = self.reader(field)
            return Access("{}(d, e)", lambda data, event: reader(data, event) not in (None, ""))
        paths = self._aliases.get(field, [field])
        if len(paths) == 1 and "." not in paths[0]:
            return Access("({} in d)", paths[0])
        there = [compile_presence(path) for path in paths]
        return Access("{}(d)", lambda data: any(test(data) for test in there))
