"""From inputs to the edition's document, and from the document to files: the one place that knows how both are made."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from services.common.errors import FatalError
from services.reporter.attachments import replacing
from services.reporter.document import Inputs, canonical
from services.reporter.runs.provisional import head, make_document, write_pages
from services.reporter.store import Snapshot
from services.reporter.verify import Verification

MADE = ("html", "md", "json")
"""The formats that there are."""
_COUNTED = ("totals", "completeness", "reviews", "high_risk", "by_day")
"""The parts of a document whose numbers two editions are compared by: they hold no names from events."""

__all__ = ["MADE", "counts_of", "differences", "head", "make_document", "parts_of", "software", "write_files"]


def software() -> dict[str, str]:
    """The versions of what makes a document."""
    return {"piperoll": version("piperoll")}


def parts_of(document: Mapping[str, Any]) -> dict[str, str]:
    """The SHA-256 (hex) of each key's value, so that a rebuild can say which part differs."""
    return {name: sha256(canonical({name: part})).hexdigest() for name, part in sorted(document.items())}


def counts_of(document: Mapping[str, Any]) -> dict[str, int | float]:
    """The document's numbers by name: `totals.all.events`, `by_day.2026-10-03.events`."""
    counts: dict[str, int | float] = {}
    for name in _COUNTED:
        _count(name, document.get(name), counts)
    return counts


def _count(path: str, value: Any, counts: dict[str, int | float]) -> None:
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, int | float):
        counts[path] = value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if name not in ("cites", "first_id", "events") or not isinstance(item, list):
                _count(f"{path}.{name}", item, counts)
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, Mapping) and isinstance(item.get("day"), str):
                _count(f"{path}.{item['day']}", {k: v for k, v in item.items() if k != "day"}, counts)


def differences(before: Mapping[str, int | float], now: Mapping[str, int | float]) -> list[dict[str, Any]]:
    """The figures that are others now: name, what it was and what it is; None where there was or is none."""
    return [
        {"figure": name, "was": before.get(name), "is": now.get(name)}
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]


async def write_files(
    dsn: str,
    snapshot: Snapshot,
    inputs: Inputs,
    document: Mapping[str, Any],
    formats: Collection[str],
    folder: Path,
    detail: str,
    verification: Verification | None = None,
) -> list[Path]:
    """Writes the edition's files and `edition.json`, which names their hashes, into a folder that is there; returns their
    paths, the pages first. Raises OSError, TransientError, FatalError."""
    if detail != "full":
        raise FatalError(
            f"detail {detail} cannot be made yet: deliver to this recipient with detail full, or not"
        )
    if {"html", "md"} & set(formats):
        await write_pages(dsn, snapshot, inputs, formats, folder, verification)
    return await asyncio.to_thread(_finish, inputs.edition, document, formats, folder)


def _finish(edition: str, document: Mapping[str, Any], formats: Collection[str], folder: Path) -> list[Path]:
    data = canonical(document)
    if "json" in formats:
        with replacing(folder / "report.json") as file:
            file.write(data)
    names = _ordered([path.name for path in folder.iterdir() if path.is_file()])
    files = {name: sha256((folder / name).read_bytes()).hexdigest() for name in names}
    told = {"edition": edition, "document": sha256(data).hexdigest(), "files": files}
    with replacing(folder / "edition.json") as file:
        file.write(json.dumps(told, indent=1).encode() + b"\n")
    return [folder / name for name in [*names, "edition.json"]]


def _ordered(names: Sequence[str]) -> list[str]:
    """The pages before what is attached."""
    first = ["report.html", "report.pdf", "report.md", "report.json"]
    return sorted(names, key=lambda name: (first.index(name) if name in first else len(first), name))
