"""An edition's numbers and hashes, and its files from its document: for one recipient, with as much as it may see."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping
from hashlib import sha256
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from schemas.catalog import load_catalog
from schemas.controls import load_controls
from schemas.mapping import load_mappings
from services.common.errors import ConfigurationError
from services.common.logging import get_logger
from services.reporter.attachments import replacing
from services.reporter.document import Inputs, canonical, make_document
from services.reporter.evidence import Evidence
from services.reporter.formats import FORMATS, Detail, Extras, render, write_pack
from services.reporter.formats.detail import with_detail
from services.reporter.formats.other import warning_line
from services.reporter.grounding.summary import PROMPT, Choosing
from services.reporter.proving import prove_cited
from services.reporter.runs.event_logs import EventLogs
from services.reporter.store import Snapshot
from services.reporter.templating.apart import render_template
from services.reporter.templating.variables import variables_of

log = get_logger(__name__)
OWN = "report.own.md"
"""What a schedule's own template gave."""
MOST_EVENTS = 10_000
"""Of those that a template gets."""
_COUNTED = ("totals", "completeness", "reviews", "high_risk", "by_day", "ai", "late")
"""The parts of a document whose numbers two editions are compared by: their names are ours, not from events."""
_NAMED_BY = ("day", "reason", "status", "figure")
_PROVED = {"html", "pdf", "pack"}


class Wish(NamedTuple):
    """What a recipient gets: formats, and how much of the events."""

    formats: Collection[str]
    detail: Detail = "full"


def software(template: str | None = None) -> dict[str, str]:
    """The versions of what makes a document: Piperoll, catalogue, mappings and controls as they are shipped, the summary's
    prompt, and the SHA-256 of the user's template. (Which rules judged an event stands in its own record.)"""
    made = {
        "piperoll": version("piperoll"),
        "catalog": load_catalog().version,
        "mappings": load_mappings().version,
        "controls": load_controls().version,
        "prompt": PROMPT,
    }
    if template is not None:
        path = Path(template)  # one that is not there is said when it is to be filled, and holds up no report
        made["template"] = sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
    return made


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
    if isinstance(value, int | float) and not isinstance(value, bool):
        counts[path] = value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            _count(f"{path}.{name}", item, counts)
    elif isinstance(value, list):
        for item in value:
            key = _key(item)
            if key is not None:
                _count(f"{path}.{key}", item, counts)


def _key(item: Any) -> str | None:
    """What a row of a list is called; None for rows whose name may be from an event."""
    if not isinstance(item, Mapping):
        return None
    return next((str(item[name]) for name in _NAMED_BY if isinstance(item.get(name), str)), None)


def differences(before: Mapping[str, int | float], now: Mapping[str, int | float]) -> list[dict[str, Any]]:
    """The figures that are others now, as both editions printed them: name, before and after; None where there was or is
    none."""
    return [
        {"figure": name, "before": before.get(name), "after": now.get(name)}
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]


async def make_whole(
    snapshot: Snapshot, inputs: Inputs, logs: EventLogs, choosing: Choosing | None = None
) -> dict[str, Any]:
    """The document of an edition with the names, sizes and hashes of what is attached: all events below the cut. Raises
    TransientError, ConfigurationError, OSError."""
    document = await make_document(snapshot, inputs, choosing)
    attached = await logs.of(snapshot, inputs) if inputs.attached else []
    return document | {"attachments": [item._asdict() for item in attached]}


async def write_files(
    snapshot: Snapshot,
    inputs: Inputs,
    document: Mapping[str, Any],
    wish: Wish,
    folder: Path,
    evidence: Evidence,
    logs: EventLogs,
) -> list[Path]:
    """Writes the edition's files into a folder that is there; returns their paths, the pages first. In full detail all its
    events go along, as the document lists them. Given the same proofs, notes and policy, the bytes are the same each time.
    Raises OSError, TransientError."""
    proofs = {}
    if _PROVED & set(wish.formats):
        cited = [str(item["record"]) for item in document["cited"]]
        proofs = await prove_cited(snapshot, cited, content=wish.detail == "full")
    policy = evidence.policy.encode() if evidence.policy.logs else b""
    full = inputs.attached and wish.detail == "full"
    events = await logs.put(snapshot, inputs, folder) if full else []
    extras = Extras(proofs, evidence.notes, policy, events, wish.detail)
    own = []
    if inputs.template is not None:
        own = [await _own(Path(inputs.template), document, wish.detail, folder)]
    return await asyncio.to_thread(_write, document, wish, folder, extras, own)


async def fill_template(template: Path, document: Mapping[str, Any], detail: Detail, folder: Path) -> str:
    """The text of the user's template for the document: `events` are those of events.jsonl in the folder, MOST_EVENTS at most.
    Raises ConfigurationError with file, line and variable where it is wrong."""
    events = await asyncio.to_thread(_events_in, folder / "events.jsonl")
    return await render_template(template, variables_of(with_detail(document, detail), events))


async def _own(template: Path, document: Mapping[str, Any], detail: Detail, folder: Path) -> str:
    """The file of the user's template. One that is wrong holds up no report: then the file says why."""
    name, text = OWN, ""
    try:
        text = warning_line(document) + await fill_template(template, document, detail, folder)
    except ConfigurationError as error:
        log.warning("template_wrong", error=str(error))
        name, text = f"{OWN}.error.txt", f"{error}\n"
    await asyncio.to_thread((folder / name).write_bytes, text.encode("utf-8", "backslashreplace"))
    return name


def _events_in(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in islice(file, MOST_EVENTS)]


def _write(
    document: Mapping[str, Any], wish: Wish, folder: Path, extras: Extras, own: list[str]
) -> list[Path]:
    names = [FORMATS[name].file for name in FORMATS if name in wish.formats] + own
    names += [path.name for path in extras.attachments]
    for name in wish.formats:
        with replacing(folder / FORMATS[name].file) as file:
            if name == "pack":
                write_pack(document, extras, file)
            else:
                file.write(render(document, name, extras))
    return [folder / name for name in names]
