"""Sigma's correlation rules: read, checked and kept, but they look at several events, which needs a window over time.

The enricher judges one event at a time. Whoever keeps windows (a Faust table by group) finds here what to count: the
rules by name or id, the fields to group by, the time span and the condition.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from services.enricher.rules.texts import RuleError

_KINDS = ("event_count", "value_count", "temporal", "temporal_ordered")
_COUNTED = ("event_count", "value_count")


class Windowed(NamedTuple):
    """A correlation rule. `rules`: names or ids of the rules whose hits count. `operator` and `limit` are the condition
    (`gte`, 10), absent for temporal rules without one; `field` is what value_count counts."""

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
    )
