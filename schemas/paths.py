"""Paths into parsed JSON such as `userIdentity.sessionContext.attributes.mfaAuthenticated`, compiled once.

A path goes through objects by key and through lists by every item (or by position, `sourceIPs.0`), so that it may find
several values: those come as a list. Where a step is not there, the rest of the path is tried as one literal key, as
is the whole path at the top: `{"a.b": 1}` is found by `a.b`, and so is `{"a": {"b.c": 1}}` by `a.b.c`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from schemas.codegen import Code

Getter = Callable[[dict[str, Any]], Any]
"""Finds a value in an event's data; None where there is none (or a JSON null)."""

_ABSENT = object()


def compile_path(path: str) -> Getter:
    """The accessor of one path."""
    parts = tuple(path.split("."))
    if len(parts) == 1:
        return _top_level(path)
    rests = tuple(".".join(parts[at:]) for at in range(len(parts)))
    first, later = parts[0], tuple(enumerate(parts))[1:]

    def get(data: dict[str, Any]) -> Any:
        value: Any = data.get(first)
        if value is None:
            return data.get(path)
        for at, part in later:
            if type(value) is not dict or (deeper := value.get(part)) is None:
                found = _descend(value, parts, rests, at)
                return data.get(path) if found is _ABSENT else found
            value = deeper
        return value

    return get


def compile_paths(paths: Sequence[str]) -> Getter:
    """The accessor of the first of several paths that finds something; without paths it finds nothing."""
    code = Code()
    getter: Getter = code.function("d", source_of(code, paths))
    return getter


def source_of(code: Code, paths: Sequence[str]) -> str:
    """The expression over `d` for the first of some paths that finds something; `None` without paths."""
    pieces = []
    for run in _runs(paths):
        top = len(run) == 1 and "." not in run[0]
        pieces.append(f"d.get({code.constant(run[0])})" if top else f"{code.constant(_run(run))}(d)")
    if not pieces:
        return "None"
    *earlier, source = pieces
    for piece in reversed(earlier):
        source = f"(x if (x := {piece}) is not None and x != {code.constant('')} else {source})"
    return source


def compile_presence(path: str) -> Callable[[dict[str, Any]], bool]:
    """Whether a path is there at all, with whatever value, a JSON null too."""
    parts = tuple(path.split("."))
    rests = tuple(".".join(parts[at:]) for at in range(len(parts)))

    def there(data: dict[str, Any]) -> bool:
        return path in data or _descend(data, parts, rests, 0) is not _ABSENT

    return there


def _top_level(key: str) -> Getter:
    def get(data: dict[str, Any]) -> Any:
        return data.get(key)

    return get


def _runs(paths: Sequence[str]) -> list[list[str]]:
    """Neighbouring paths that can be looked up together: keys of one object at the top."""
    runs: list[list[str]] = []
    for path in paths:
        if runs and _shelf(path) and _shelf(runs[-1][-1]) == _shelf(path):
            runs[-1].append(path)
        else:
            runs.append([path])
    return runs


def _shelf(path: str) -> str | None:
    """The object at the top that a path of two steps looks into."""
    return path.partition(".")[0] if path.count(".") == 1 else None


def _run(paths: list[str]) -> Getter:
    if len(paths) == 1:
        return compile_path(paths[0])
    return _first_below(_shelf(paths[0]) or "", paths)


def _first_below(parent: str, paths: list[str]) -> Getter:
    """Goes through the keys that the object has, few as a rule, not through those that it might have."""
    ranks = {path.partition(".")[2]: rank for rank, path in enumerate(paths)}
    each = [compile_path(path) for path in paths]

    def get(data: dict[str, Any]) -> Any:
        below = data.get(parent)
        if type(below) is dict:
            best, found = len(each), None
            for key, value in below.items():
                rank = ranks.get(key)
                if rank is not None and rank < best and value is not None and value != "":
                    best, found = rank, value
            return found
        if below is None and parent in data:
            return None
        return next((value for getter in each if (value := getter(data)) is not None), None)

    return get


def _descend(value: Any, parts: tuple[str, ...], rests: tuple[str, ...], at: int) -> Any:
    """The value below `value` by parts[at:], or _ABSENT."""
    for here in range(at, len(parts)):
        if type(value) is dict:
            deeper = value.get(parts[here], _ABSENT)
            if deeper is _ABSENT:
                return value.get(rests[here], _ABSENT)
            value = deeper
        elif type(value) is list:
            return _among(value, parts, rests, here)
        else:
            return _ABSENT
    return value


def _among(items: list[Any], parts: tuple[str, ...], rests: tuple[str, ...], at: int) -> Any:
    if parts[at].isdecimal():
        position = int(parts[at])
        return _descend(items[position], parts, rests, at + 1) if position < len(items) else _ABSENT
    found: list[Any] = []
    for item in items:
        value = _descend(item, parts, rests, at)
        if type(value) is list:
            found.extend(value)
        elif value is not _ABSENT:
            found.append(value)
    return found or _ABSENT
