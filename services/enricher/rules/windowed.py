"""Sigma's correlation rules: read, checked, and tied to the rules that they count.

The enricher judges one event at a time. What counts towards a correlation it notes as a `Match` (matches.py) and sends to
the alerter with the rest that it counts; the alerter keeps the windows (alerting/correlations.py). Rules that are counted
judge events by themselves as before, whatever `generate` says: a risk is a floor.

A correlation may count another one: the event that completes the one then counts towards the other. So what the other
groups by or counts must be among the fields that the one groups by: those are all that is known of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from services.enricher.rules.texts import RuleError

if TYPE_CHECKING:
    from services.enricher.rules.load import Rule

MOST_COUNTED = 1000
"""Different values that a correlation may ask for: so many are remembered for each group."""
MOST_EVENTS = 1_000_000
MOST_PARTS = 20
MOST_DEPTH = 3
"""Correlations of correlations of correlations."""
_KINDS = ("event_count", "value_count", "temporal", "temporal_ordered")
_COUNTED = ("event_count", "value_count")
_OPERATORS = ("gte", "gt", "eq")
CLOSING = ("lt", "lte", "neq")
"""Conditions that only the end of a window decides."""


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
    name: str = ""

    @property
    def closing(self) -> bool:
        """Whether it is decided when a window has ended."""
        return self.operator in CLOSING

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
        signs = {"lt": "fewer than", "lte": "at most", "neq": "other than"}
        many = f"{signs[self.operator or '']} {self.limit:g}" if self.closing else f"{self.least}"
        what = {
            "event_count": f"{many} events",
            "value_count": f"{many} values of {self.field}",
            "temporal": f"{self.least} of the rules {', '.join(self.rules)}",
            "temporal_ordered": " then ".join(self.rules),
        }
        return f"{what[self.kind]} {span}"


class Part(NamedTuple):
    """What a hit of one rule, or another correlation, means to a correlation: which of its rules it is, and the fields
    to read."""

    correlation: Windowed
    number: int
    group: tuple[str, ...]
    counted: str | None


class Idle(NamedTuple):
    """A correlation that does not run, and why."""

    correlation: Windowed
    reason: str


class Correlations(NamedTuple):
    """What runs, what does not, and by the id of a rule, or of a correlation, what it counts towards. `depths`: by id, 0
    for a correlation of rules alone, one more than those that it counts for the others."""

    running: list[Windowed]
    idle: list[Idle]
    by_rule: dict[str, list[Part]]
    above: dict[str, list[Part]]
    depths: dict[str, int]


def correlate(found: Iterable[Windowed], rules: Iterable[Rule]) -> Correlations:
    """Ties correlations to the rules and correlations that they name, by name or id."""
    named: dict[str, Rule] = {}
    for rule in rules:
        named.setdefault(rule.hit.id, rule)
        if rule.name:
            named.setdefault(rule.name, rule)
    waiting, others = list(found), dict[str, Windowed]()
    for one in waiting:
        for reference in filter(None, (one.id, one.name)):
            others.setdefault(reference, one)
    made = Correlations([], [], {}, {}, {})
    while waiting:
        names = {reference for one in waiting for reference in (one.id, one.name)}
        ready = [one for one in waiting if names.isdisjoint(_counted(one, named))]
        if not ready:
            made.idle.extend(Idle(one, "it counts itself, or correlations that count it") for one in waiting)
            break
        for one in ready:
            _tie(one, named, others, made)
        waiting = [one for one in waiting if one not in ready]
    return made


def _counted(one: Windowed, named: dict[str, Rule]) -> list[str]:
    """The correlations that it names."""
    return [reference for reference in one.rules if reference not in named]


def _tie(one: Windowed, named: dict[str, Rule], others: dict[str, Windowed], made: Correlations) -> None:
    reason = _why_not(one, named, others, made)
    if reason is None and one.id in made.depths:
        reason = f"its id {one.id} is already used by another correlation"
    if reason is not None:
        made.idle.append(Idle(one, reason))
        return
    made.running.append(one)
    below = [made.depths[others[reference].id] for reference in _counted(one, named)]
    made.depths[one.id] = 1 + max(below) if below else 0
    for number, reference in enumerate(one.rules):
        part = Part(one, number, tuple(_field(one, name, reference) for name in one.group_by), one.field)
        rule = named.get(reference)
        table, key = (made.by_rule, rule.hit.id) if rule is not None else (made.above, others[reference].id)
        table.setdefault(key, []).append(part)


def _field(one: Windowed, name: str, reference: str) -> str:
    return one.aliases.get(name, {}).get(reference, name)


def _why_not(
    one: Windowed, named: dict[str, Rule], others: dict[str, Windowed], made: Correlations
) -> str | None:
    """Why a correlation cannot run, None if it can. Those that it counts are tied already."""
    missing = [reference for reference in _counted(one, named) if reference not in others]
    if missing:
        return f"no loaded rule has the name or id {missing[0]}"
    if len(one.rules) > MOST_PARTS:
        return f"it names {len(one.rules)} rules, and {MOST_PARTS} are the most"
    if one.seconds < 1:
        return "its timespan is shorter than a second"
    for reference in _counted(one, named):
        reason = _cannot_count(one, reference, others[reference], made)
        if reason is not None:
            return reason
    return _wrong_condition(one)


def _cannot_count(one: Windowed, reference: str, other: Windowed, made: Correlations) -> str | None:
    depth = made.depths.get(other.id)
    if depth is None:
        return f"it counts the correlation {reference}, which does not run"
    if depth + 1 >= MOST_DEPTH:
        return f"it counts correlations {MOST_DEPTH} deep, and {MOST_DEPTH - 1} are the most"
    if one.closing or other.closing:
        return f"it counts the correlation {reference}: not where a condition is {', '.join(CLOSING)}"
    wanted = [_field(one, name, reference) for name in one.group_by] + ([one.field] if one.field else [])
    unknown = [name for name in wanted if name not in other.group_by]
    if unknown:
        return f"it needs {unknown[0]} of the correlation {reference}, which is not among what that groups by"
    return None


def _wrong_condition(one: Windowed) -> str | None:
    if one.closing:
        return _wrong_end(one)
    if one.kind == "temporal_ordered" and one.least != len(one.rules):
        return "its condition leaves out some of its rules: in what order, then?"
    if one.kind == "temporal" and not 1 <= one.least <= len(one.rules):
        return f"it asks for {one.least} of {len(one.rules)} rules"
    if one.operator is not None and one.operator not in _OPERATORS:
        return f"its condition {one.operator} is not known"
    most = MOST_EVENTS if one.kind == "event_count" else MOST_COUNTED
    if not 1 <= one.least <= most:
        return f"it counts to {one.least:,}, and {most:,} are the most"
    return None


def _wrong_end(one: Windowed) -> str | None:
    if one.kind not in _COUNTED:
        return f"its condition is {one.operator}: of which rules too few came is not decided"
    most = MOST_EVENTS if one.kind == "event_count" else MOST_COUNTED
    least = 1 if one.operator == "lt" else 0
    if one.limit is None or not least <= one.limit <= most:
        return f"its condition is {one.operator} {one.limit:g}, and {least} to {most:,} make sense"
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
        str(parsed.name or ""),
    )
