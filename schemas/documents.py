"""Reading the YAML files of a folder into checked structs, with errors that name file and entry."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

Entry = TypeVar("Entry")
_loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class DocumentError(ValueError):
    """A file of the catalogue or the mappings is wrong; the text names file and entry and says how."""


def yaml_files(directory: Path) -> list[Path]:
    """The YAML files of a folder and the folders in it, by name, without what is hidden (a mounted ConfigMap holds every
    file twice). Raises DocumentError if it is no folder."""
    if not directory.is_dir():
        raise DocumentError(f"{directory}: no such folder")
    found: list[tuple[tuple[str, ...], str]] = []
    for folder, folders, files in os.walk(directory):
        folders[:] = [name for name in folders if not name.startswith(".")]
        steps = Path(folder).parts
        found += [
            ((*steps, name), f"{folder}{os.sep}{name}")
            for name in files
            if name.endswith((".yaml", ".yml")) and not name.startswith(".")
        ]
    return [Path(path) for _, path in sorted(found)]


def read_entries(file: Path, entry: type[Entry], name: str) -> list[Entry]:
    """The entries of a file, which is a list of them or one alone; `name` is the key that names an entry.
    Raises DocumentError."""
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=_loader)  # noqa: S506 - a safe loader
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(f"{file}: cannot be read: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DocumentError(f"{file}: not YAML: {' '.join(str(error).split())}") from error
    if content is None:
        return []
    entries = content if isinstance(content, list) else [content]
    made = []
    for number, raw in enumerate(entries, 1):
        called = raw.get(name) if isinstance(raw, dict) else None
        try:
            made.append(msgspec.convert(raw, entry))
        except msgspec.ValidationError as error:
            raise DocumentError(f"{file}: entry {number} ({called}): {error}") from error
    return made


def fingerprint(files: list[Path]) -> str:
    """Twelve hex digits over the contents of files, in their order."""
    digest = sha256()
    for file in files:
        content = file.read_bytes()
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()[:12]
