"""Sigma's correlation rules: read, checked, and tied to the rules that they count.

The enricher judges one event at a time. What counts towards a correlation it notes as a `Match` (matches.py) and sends to
the alerter with the rest that it counts; the alerter keeps the windows (alerting/correlations.py). Rules that are counted
judge events by themselves as before, whatever `generate` says: a risk is a floor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from services.enricher.rules.texts import RuleError

if TYPE_CHECKING:
    from services.enricher.rules.load import Rule

MOST_COUNTED = 1000
"""Events, or different values, that a correlation may ask for: so many are remembered for each group."""
MOST_PARTS = 20
_KINDS = ("event_count", "value_count", "temporal", "temporal_ordered")
_COUNTED = ("event_count", "value_count")
_OPERATORS = ("gte", "gt", "eq")


class Windowed(NamedTuple):
    """A correlation rule. `rules`: names or ids of the rules whose hits count. `operator` and `limit` are the condition
    (`gte`, 10; of temporal rules, how many of the rules); `field` is what value_count counts. `aliases`: for a field to group
    by, what it is called in the events of each rule."""

    id: str
    title: str
    level: str
    kind: str
    rules: tuple[str, ...]
    group_by: tuple[str, ...]
    seconds: int
    operator: str | None
    limit: float | None
    field: str | None
    file: str
    line: int
    aliases: Mapping[str, Mapping[str, str]] = MappingProxyType({})

    @property
    def least(self) -> int:
        """How many events, values or rules it takes."""
        if self.limit is None:
            return len(self.rules)
        return int(self.limit) + (self.operator == "gt")

    @property
    def asks(self) -> str:
        """In words, for lists."""
        span = f"within {self.seconds} s" + (f" by {', '.join(self.group_by)}" if self.group_by else "")
        what = {
            "event_count": f"{self.least} events",
            "value_count": f"{self.least} values of {self.field}",
            "temporal": f"{self.least} of the rules {', '.join(self.rules)}",
            "temporal_ordered": " then ".join(self.rules),
        }
        return f"{what[self.kind]} {span}"


class Part(NamedTuple):
    """What a hit of one rule means to one correlation: which of its rules it is, and the fields to read."""

    correlation: Windowed
    number: int
    group: tuple[str, ...]
    counted: str | None


class Idle(NamedTuple):
    """A correlation that does not run, and why."""

    correlation: Windowed
    reason: str


class Correlations(NamedTuple):
    """What runs, what does not, and by the id of a rule what its hits count towards."""

    running: list[Windowed]
    idle: list[Idle]
    by_rule: dict[str, list[Part]]


def correlate(found: Iterable[Windowed], rules: Iterable[Rule]) -> Correlations:
    """Ties correlations to the rules that they name, by name or id."""
    named: dict[str, Rule] = {}
    for rule in rules:
        named.setdefault(rule.hit.id, rule)
        if rule.name:
            named.setdefault(rule.name, rule)
    correlations = list(found)
    others = {one.id for one in correlations}
    made, taken = Correlations([], [], {}), set()
    for one in correlations:
        reason = _why_not(one, named, others)
        if reason is None and one.id in taken:
            reason = f"its id {one.id} is already used by another correlation"
        if reason is not None:
            made.idle.append(Idle(one, reason))
            continue
        taken.add(one.id)
        made.running.append(one)
        for number, reference in enumerate(one.rules):
            part = Part(one, number, tuple(_field(one, name, reference) for name in one.group_by), one.field)
            made.by_rule.setdefault(named[reference].hit.id, []).append(part)
    return made


def _field(one: Windowed, name: str, reference: str) -> str:
    return one.aliases.get(name, {}).get(reference, name)


def _why_not(one: Windowed, named: dict[str, Rule], others: set[str]) -> str | None:
    """Why a correlation cannot run, None if it can."""
    missing = [reference for reference in one.rules if reference not in named]
    if missing and missing[0] in others:
        return f"it counts the correlation {missing[0]}: only rules over one event can be counted"
    if missing:
        return f"no loaded rule has the name or id {missing[0]}"
    if len(one.rules) > MOST_PARTS:
        return f"it names {len(one.rules)} rules, and {MOST_PARTS} are the most"
    if one.seconds < 1:
        return "its timespan is shorter than a second"
    return _wrong_condition(one)


def _wrong_condition(one: Windowed) -> str | None:
    if one.kind == "temporal_ordered" and one.least != len(one.rules):
        return "its condition leaves out some of its rules: in what order, then?"
    if one.kind == "temporal" and not 1 <= one.least <= len(one.rules):
        return f"it asks for {one.least} of {len(one.rules)} rules"
    if one.operator is not None and one.operator not in _OPERATORS:
        return f"its condition is {one.operator}: that too few came, no event tells (gte, gt and eq can run)"
    if not 1 <= one.least <= MOST_COUNTED:
        return f"it counts to {one.least}, and {MOST_COUNTED} are the most"
    return None


def windowed(parsed: Any, file: str, line: int) -> Windowed:
    """A correlation rule as pySigma has read it. Raises RuleError for a kind that is not known."""
    kind = parsed.type.name.lower()
    if kind not in _KINDS:
        raise RuleError(f"correlation of type {kind} is not known")
    condition = parsed.condition
    operator: str | None = None
    limit: float | None = None
    field: str | None = None
    if condition is not None and hasattr(condition, "op"):
        operator, limit = condition.op.name.lower(), float(condition.count)
        named = condition.fieldref
        field = str(named[0] if isinstance(named, list) else named) if named else None
    if kind in _COUNTED and operator is None:
        raise RuleError("a rule that counts needs a condition")
    if kind == "value_count" and field is None:
        raise RuleError("value_count needs `field` in its condition: what is counted")
    aliases = getattr(parsed, "aliases", None)
    return Windowed(
        str(parsed.id or parsed.title),
        str(parsed.title),
        "low" if parsed.level is None else parsed.level.name.lower(),
        kind,
        tuple(str(reference.reference) for reference in parsed.rules),
        tuple(parsed.group_by or ()),
        int(parsed.timespan.seconds),
        operator,
        limit,
        field,
        file,
        line,
        {
            str(alias.alias): {str(rule.reference): str(name) for rule, name in alias.mapping.items()}
            for alias in (aliases or ())
        },
    )
