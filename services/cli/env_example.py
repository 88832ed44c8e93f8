"""`python -m services.cli.env_example > .env.example`: every setting and what it is for, from the settings groups.

The groups are found, not listed, so a new one cannot be forgotten; a test compares the file with what this prints.
"""

from __future__ import annotations

import json
import pkgutil
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import services
from services.common.settings import SettingsGroup

PREAMBLE = """\
# Piperoll's settings. Copy this file to .env and change what you need: everything below is commented out and shows its
# default. The process's environment goes before .env. Any variable can also be given as NAME_FILE, the path of a file
# that holds it: for secrets. An empty variable counts as not set. `make up` and `make demo` need no setting at all."""

FIRST = ("AiSettings", "PostgresSettings", "KafkaSettings", "IngestSettings")
"""What people look for first; other groups follow in the order of their modules."""


class Section(NamedTuple):
    """Variables that belong together: name, default as text, what it is for."""

    title: str
    variables: list[tuple[str, str, str]]


MACHINE = Section(
    "Piperoll on this machine: `piperoll up`, `piperoll demo` and what talks to them.",
    [
        ("PIPEROLL_HOME", "", "folder of data, logs and passwords; default: .piperoll here"),
        (
            "PIPEROLL_CACHE",
            "",
            "where Kafka is kept once fetched; default: piperoll in the user's cache folder",
        ),
        ("PIPEROLL_MAVEN_REPOSITORY", "", "where Kafka is fetched from, instead of Maven Central"),
        ("PIPEROLL_JAVA", "", "system: the machine's own Java instead of the pinned one"),
        (
            "PIPEROLL_POSTGRES",
            "",
            "system: the machine's own PostgreSQL (14 or newer) instead of the pinned one",
        ),
        ("INGEST_URL", "", "where `piperoll emit --http` sends; default: the local stack's"),
        (
            "INGEST_CAFILE",
            "",
            "PEM that vouches for ingest's certificate there; default: the usual authorities",
        ),
        ("PIPEROLL_API_KEY", "", "with which it signs in, where ingest requires a key"),
    ],
)


def groups() -> list[type[SettingsGroup]]:
    """All settings groups of the services and of the command line."""
    for module in pkgutil.walk_packages(services.__path__, "services."):
        spec = find_spec(module.name)
        if (
            spec is not None
            and spec.origin
            and "(SettingsGroup)" in Path(spec.origin).read_text(encoding="utf-8")
        ):
            import_module(module.name)
    found = SettingsGroup.__subclasses__()
    rank = {name: number for number, name in enumerate(FIRST)}
    return sorted(found, key=lambda group: (rank.get(group.__name__, len(FIRST)), group.__module__))


def sections() -> list[Section]:
    """One for each group, each variable where it is met first."""
    seen: set[str] = set()
    made = []
    for group in groups():
        fields = [field for field in group.model_fields.values() if field.alias and field.alias not in seen]
        seen.update(field.alias for field in fields if field.alias)
        if fields:
            made.append(
                Section(" ".join((group.__doc__ or "").split()), [_variable(field) for field in fields])
            )
    return [*made, MACHINE]


def render() -> str:
    """The text of .env.example."""
    lines = [PREAMBLE]
    for section in sections():
        lines += ["", f"# --- {section.title}"]
        for name, default, purpose in section.variables:
            lines += [f"# {purpose}"] if purpose else []
            lines.append(f"#{name}={default}")
    return "\n".join(lines) + "\n"


def _variable(field: FieldInfo) -> tuple[str, str, str]:
    purpose = field.description or ""
    choices = getattr(field.annotation, "__args__", ())
    if choices and all(isinstance(choice, str) for choice in choices):
        purpose = "; ".join(filter(None, [purpose, " | ".join(choices)]))
    return field.alias or "", _text(field.default), purpose


def _text(default: Any) -> str:
    if default is None or default is PydanticUndefined or isinstance(default, SecretStr):
        return ""
    return str(default) if isinstance(default, str | Path) else json.dumps(default)


if __name__ == "__main__":
    print(render(), end="")
