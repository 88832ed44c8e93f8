"""Where in an event's JSON text declared fields stand, so that they are replaced there and no other byte changes.

Paths are those of mappings (schemas/paths.py): through objects by key, through lists by every item or by position, and the
rest of a path may be one literal key. A place is the path with the keys that were gone through and without positions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from schemas.shredding.cipher import Number, canonical


class Spot(NamedTuple):
    """A value in a text: from character `start` to before `end`. `rule`: the number under which its path was declared."""

    start: int
    end: int
    place: str
    rule: int
    json: str


class Tree:
    """Declared paths, each with the number of its rule, as the walk goes down them."""

    __slots__ = ("rule", "steps")

    def __init__(self) -> None:
        self.steps: dict[str, Tree] = {}
        self.rule: int | None = None
        """The first rule of which a path ends here."""

    def add(self, path: str, rule: int) -> None:
        parts, tree = path.split("."), self
        for at, part in enumerate(parts):
            if at < len(parts) - 1:
                tree.steps.setdefault(".".join(parts[at:]), Tree()).end(rule)
            tree = tree.steps.setdefault(part, Tree())
        tree.end(rule)

    def below(self, name: str) -> Tree:
        """The tree that hangs under one key."""
        return self.steps.setdefault(name, Tree())

    def end(self, rule: int) -> None:
        """A path of this rule ends here."""
        self.rule = rule if self.rule is None else min(self.rule, rule)


def find_spots(text: str, tree: Tree) -> list[Spot]:
    """All values at declared paths, in their order; nulls are left out, and of two within one another the outer one is
    taken. `text` is JSON that was read before."""
    spots: list[Spot] = []
    _Walk(text, spots).value(_blanks(text, 0), [tree], ())
    return spots


def replaced(text: str, spots: Iterable[Spot], texts: Iterable[str]) -> str:
    """`text` with each spot replaced by a JSON text."""
    pieces, end = [], 0
    for spot, new in zip(spots, texts, strict=True):
        pieces += [text[end : spot.start], new]
        end = spot.end
    return "".join([*pieces, text[end:]])


class _Walk:
    """Down one text. Each method returns where the value ends; `trees` are those whose paths lead here."""

    def __init__(self, text: str, spots: list[Spot]) -> None:
        self._text = text
        self._spots = spots

    def value(self, at: int, trees: Sequence[Tree], place: tuple[str, ...]) -> int:
        rules = [tree.rule for tree in trees if tree.rule is not None]
        if rules:
            return self._take(at, min(rules), place)
        opening = self._text[at] if any(tree.steps for tree in trees) else ""
        if opening == "{":
            return self._members(at, trees, place)
        return self._items(at, trees, place) if opening == "[" else _scan(self._text, at)[1]

    def _take(self, at: int, rule: int, place: tuple[str, ...]) -> int:
        value, end = _scan(self._text, at)
        if value is not None:
            self._spots.append(Spot(at, end, ".".join(place), rule, canonical(value)))
        return end

    def _members(self, at: int, trees: Sequence[Tree], place: tuple[str, ...]) -> int:
        text = self._text
        at = _blanks(text, at + 1)
        while text[at] != "}":
            name, at = _scan(text, at)
            at = _blanks(text, _blanks(text, at) + 1)  # the colon
            below = [tree.steps[name] for tree in trees if name in tree.steps]
            at = self.value(at, below, (*place, name)) if below else _scan(text, at)[1]
            at = _next(text, at)
        return at + 1

    def _items(self, at: int, trees: Sequence[Tree], place: tuple[str, ...]) -> int:
        text, position = self._text, 0
        at = _blanks(text, at + 1)
        while text[at] != "]":
            here = [tree.steps[str(position)] for tree in trees if str(position) in tree.steps]
            at = _next(text, self.value(at, [*trees, *here], place))
            position += 1
        return at + 1


_BLANKS: Callable[[str, int], re.Match[str]] = re.compile(r"[ \t\n\r]*").match  # type: ignore[assignment]
_scan = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=Number).raw_decode


def _blanks(text: str, at: int) -> int:
    return _BLANKS(text, at).end()


def _next(text: str, at: int) -> int:
    """Where the next member or item begins, or the closing bracket stands."""
    at = _blanks(text, at)
    return _blanks(text, at + 1) if text[at] == "," else at
