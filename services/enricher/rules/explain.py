"""Why a rule fires on an event, or does not: each of its tests, with what it asks for and what it found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from sigma.conditions import ConditionFieldEqualsValueExpression, ConditionNOT, ConditionValueExpression
from sigma.types import SigmaCompareExpression, SigmaExpansion, SigmaNull, SigmaRegularExpression

from schemas.events import Event
from schemas.text import neutral, plain
from services.enricher.rules.compile import compile_conditions
from services.enricher.rules.fields import Fields
from services.enricher.rules.load import Rule

_SHOWN = 120


class Tested(NamedTuple):
    """One test of a rule: the field (none for a keyword), what it asks for, what stands there, whether it holds, and
    whether the rule wants it not to hold."""

    field: str | None
    wanted: str
    found: str | None
    holds: bool
    negated: bool


def explain(rule: Rule, fields: Fields, data: dict[str, Any], event: Event) -> list[Tested]:
    """Every test of a rule on one event, in the order of its conditions."""
    return [
        _test(node, fields, data, event, negated=negated)
        for condition in rule.conditions
        for node, negated in _leaves(condition, negated=False)
    ]


def _leaves(node: Any, *, negated: bool) -> Iterator[tuple[Any, bool]]:
    if isinstance(node, ConditionFieldEqualsValueExpression | ConditionValueExpression):
        yield node, negated
    else:
        inner = negated != isinstance(node, ConditionNOT)
        for child in node.args:
            yield from _leaves(child, negated=inner)


def _test(node: Any, fields: Fields, data: dict[str, Any], event: Event, *, negated: bool) -> Tested:
    holds = compile_conditions([node], fields).predicate(data, event)
    wanted = neutral(_wanted(node.value), _SHOWN)
    if isinstance(node, ConditionValueExpression):
        return Tested(None, wanted, None, holds, negated)
    found = fields.reader(node.field)(data, event)
    shown = plain(list(found) if type(found) is tuple else found, _SHOWN)
    if shown is None and found is not None:
        shown = neutral(str(found), _SHOWN)
    return Tested(node.field, wanted, shown, holds, negated)


def _wanted(value: Any) -> str:
    """What a test asks for, near to how the rule writes it."""
    if isinstance(value, SigmaCompareExpression):
        return f"{value.op.name.lower()} {value.number}"
    if isinstance(value, SigmaRegularExpression):
        return f"/{value.regexp.to_plain(regex=True)}/"
    if isinstance(value, SigmaExpansion):
        return " or ".join(map(_wanted, value.values))
    return "null" if isinstance(value, SigmaNull) else str(value)
