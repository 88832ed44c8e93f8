"""YAML files of users, read into pydantic models: what is wrong is told with file, line and key."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from services.common.errors import ConfigurationError

Model = TypeVar("Model", bound=BaseModel)
KeyPath = tuple[str | int, ...]
Lines = dict[KeyPath, int]
"""On which line each key of a document stands."""


class _Loader(yaml.SafeLoader):
    """Dates stay texts, which the model reads: PyYAML ends on 2026-02-30 with an error that names no line."""


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_checked(file: Path, model: type[Model], setting: str) -> tuple[Model, Lines]:
    """The model in a file, and its lines. `setting` is the variable that names the file. Raises ConfigurationError, a
    line for each thing that is wrong."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{setting}: {file}: {getattr(error, 'strerror', None) or error}") from None
    try:
        data, lines = _parse(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{file}: no YAML: {error}") from None
    try:
        return model.model_validate(data), lines
    except ValidationError as error:
        told = [f"{file}, {place(item['loc'], lines)}: {_what(item)}" for item in error.errors()]
        raise ConfigurationError("\n".join(told)) from None


def place(location: KeyPath, lines: Lines) -> str:
    """`line 7, schedules[0].every`."""
    known = location
    while known and known not in lines:
        known = known[:-1]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    return f"line {lines.get(known, 1)}{', ' if key else ''}{key}"


def _parse(text: str) -> tuple[Any, Lines]:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        lines: Lines = {}
        if node is not None:
            _note_lines(node, (), lines)
        return {} if node is None else loader.construct_document(node), lines
    finally:
        loader.dispose()


def _note_lines(node: yaml.Node, path: KeyPath, lines: Lines) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            _note_lines(item, (*path, number), lines)
    elif isinstance(node, yaml.MappingNode):
        for key, item in node.value:
            at = (*path, str(key.value))
            if at in lines:
                raise yaml.MarkedYAMLError("", None, f"the key {key.value!r} stands twice", key.start_mark)
            lines[at] = key.start_mark.line + 1
            _note_lines(item, at, lines)


def _what(item: Any) -> str:
    """What is wrong, and what could stand there."""
    if item["type"] == "extra_forbidden":
        return "no such key; is it spelt as in the README?"
    if item["type"] == "missing":
        return "is missing: add it"
    given = item.get("input")
    shown = f" (there stands {str(given)[:80]!r})" if isinstance(given, str | int | float) else ""
    return str(item["msg"]).removeprefix("Value error, ") + shown
