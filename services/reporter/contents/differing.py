"""Which figures of two editions differ: what a new edition says of the one that it replaces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_COMPARED = ("totals", "tables", "by_day", "high_risk", "reviews", "completeness", "ai", "late", "listed")
_MOST = 200


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The numbers that differ, in the order of their places: `figure` (a path as in `totals.all.events`), `before` and `after`,
    None where one edition has no such number. At most 200; the last then says how many more there are."""
    old, new = dict(_numbers(before)), dict(_numbers(after))
    changed = [place for place in sorted(old.keys() | new.keys()) if old.get(place) != new.get(place)]
    told: list[dict[str, Any]] = [
        {"figure": place, "before": old.get(place), "after": new.get(place)} for place in changed[:_MOST]
    ]
    if len(changed) > _MOST:
        told.append({"figure": "more", "before": None, "after": len(changed) - _MOST})
    return told


def _numbers(document: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name in _COMPARED:
        yield from _within(name, document.get(name))


def _within(place: str, node: Any) -> Iterator[tuple[str, float]]:
    if isinstance(node, Mapping):
        for name, part in node.items():
            yield from _within(f"{place}.{name}", part)
    elif isinstance(node, list):
        for number, part in enumerate(node):
            yield from _within(f"{place}.{_name(part, number)}", part)
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield place, node


def _name(part: Any, number: int) -> str:
    """What a row is called: by its key where it has one, so that another order is no difference."""
    if isinstance(part, Mapping):
        for key in ("key", "day", "reason", "status", "record", "figure", "name"):
            if isinstance(part.get(key), str):
                return str(part[key])
    return str(number)
