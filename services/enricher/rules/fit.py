"""Rules that events seen so far could never have set off: they ask for fields that neither the mapping of their log source
nor any of its events has. Often such a field is misspelt, or called otherwise than where the rule was written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
)
from sigma.types import SigmaExists, SigmaNull

from schemas.events import Event
from services.enricher.rules.fields import ATTRIBUTE_PREFIX
from services.enricher.rules.index import RuleSet
from services.enricher.rules.load import Rule


class Unfit(NamedTuple):
    """A rule that cannot have fired, the log sources of which events were seen, how many, and the fields that it needs and
    none of them has."""

    rule: Rule
    sources: list[str]
    events: int
    missing: list[str]


class Fit:
    """Looks which of the rules' fields events have."""

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules
        self._covered = {rule.hit.id: rules.covered(rule) for rule in rules.report.loaded}
        self._unseen: dict[str, dict[str, Callable[[dict[str, Any], Event], Any]]] = {}
        self._events: Counter[str] = Counter()
        for rule in rules.report.loaded:
            for name in self._covered[rule.hit.id]:
                fields, unseen = rules.sources[name][1], self._unseen.setdefault(name, {})
                for field in _needed(rule):
                    if not field.startswith(ATTRIBUTE_PREFIX) and not fields.mapped(field):
                        unseen.setdefault(field, fields.there(field))

    def see(self, log_source: str, data: dict[str, Any], event: Event) -> None:
        """An event as its log source's rules see it."""
        self._events[log_source] += 1
        unseen = self._unseen.get(log_source, {})
        for field in [field for field, there in unseen.items() if there(data, event)]:
            del unseen[field]

    def unfit(self, but: Path) -> list[Unfit]:
        """The rules of whose log sources events were seen, and that none of these can have set off. Those of the folder
        `but`, our own, are left out: they are for more kinds of events than anybody has."""
        found = []
        for rule in self._rules.report.loaded:
            if Path(rule.file).is_relative_to(but):
                continue
            seen = [name for name in self._covered[rule.hit.id] if self._events[name]]
            missing = [self._missing(rule, name) for name in seen]
            if missing and all(missing):
                fields = list(dict.fromkeys(field for some in missing for field in some))
                found.append(Unfit(rule, seen, sum(self._events[name] for name in seen), fields))
        return found

    def _missing(self, rule: Rule, log_source: str) -> list[str]:
        """The fields for lack of which no condition of a rule can be true; none where one can."""
        found: list[str] = []
        for condition in rule.conditions:
            missing = _lacking(condition, self._unseen[log_source])
            if not missing:
                return []
            found += missing
        return found


def _needed(rule: Rule) -> set[str]:
    found, todo = set(), list(rule.conditions)
    while todo:
        node = todo.pop()
        if isinstance(node, ConditionFieldEqualsValueExpression):
            found.add(node.field)
        elif isinstance(node, ConditionAND | ConditionOR):
            todo.extend(node.args)
    return found


def _lacking(node: Any, unseen: dict[str, Any]) -> list[str]:
    """The unseen fields for lack of which a condition cannot be true."""
    if isinstance(node, ConditionFieldEqualsValueExpression):
        absent = isinstance(node.value, SigmaNull) or (
            isinstance(node.value, SigmaExists) and not node.value.exists
        )
        return [node.field] if node.field in unseen and not absent else []
    if isinstance(node, ConditionNOT):
        return []
    parts = [_lacking(child, unseen) for child in getattr(node, "args", ())]
    if isinstance(node, ConditionOR) and not all(parts):
        return []
    return [field for part in parts for field in part]
