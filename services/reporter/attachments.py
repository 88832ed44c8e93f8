"""The full log of a period beside its report, streamed: memory does not grow with the number of events."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from schemas.record import Kind
from services.reporter.contents.events import latest_summary, read_texts, risk_named
from services.reporter.contents.selection import Selection
from services.reporter.escape import csv_cell

COLUMNS = (
    "chain_no",
    "seq",
    "record_hash",
    "kind",
    "event_time",
    "appended_at",
    "event_type",
    "source",
    "event_id",
    "subject",
    "risk",
    "risk_floor",
    "risk_ai",
    "ai_summary",
    "summary_by",
    "ai_pending",
    "ai_tags",
    "review",
    "late",
    "actor",
    "action",
    "resource",
    "origin",
    "outcome",
    "log_source",
    "kafka_topic",
    "kafka_partition",
    "kafka_offset",
)
_STREAMED = 100


class Attachment(NamedTuple):
    """A file beside the report. `sha256` in hex."""

    name: str
    about: str
    rows: int
    size: int
    sha256: str


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` once all of it is written and on disk."""
    draft = path.with_name(f".{path.name}.new")
    with draft.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


async def write_log(
    selection: Selection, folder: Path, progress: Callable[[int], None] = lambda _count: None
) -> list[Attachment]:
    """events.jsonl with all columns and the data, events.csv for spreadsheets; both in the order of the times by which the
    events count, as they are below the cut."""
    lines, table = folder / "events.jsonl", folder / "events.csv"
    count = 0
    with replacing(lines) as lines_file, replacing(table) as table_file:
        written = (_Hashing(lines_file), _Hashing(table_file))
        written[1].write(("\ufeff" + _csv_line(COLUMNS)).encode())
        async for row in _rows(selection):
            written[0].write(json_line(row))
            written[1].write(_csv_line(_cells(row)).encode())
            count += 1
            if count % _STREAMED == 0:
                progress(count)
    progress(count)
    return [
        Attachment(lines.name, "all events as JSON lines, with their data", count, *written[0].result()),
        Attachment(
            table.name, "all events for spreadsheets (UTF-8, formulas defused)", count, *written[1].result()
        ),
    ]


async def _rows(selection: Selection) -> AsyncIterator[dict[str, Any]]:
    """All events of a selection, a few at a time."""
    some: list[Any] = []
    async for row in selection.stream("log", prefetch=_STREAMED):
        some.append(row)
        if len(some) == _STREAMED:
            for event in await _with_texts(selection, some):
                yield event
            some = []
    for event in await _with_texts(selection, some):
        yield event


async def _with_texts(selection: Selection, rows: Sequence[Any]) -> list[dict[str, Any]]:
    told = await read_texts(selection, [row["id"] for row in rows], data=True)
    return [_event(row, told[row["id"]]) for row in rows if row["id"] in told]


def _event(row: Any, told: dict[str, Any]) -> dict[str, Any]:
    """One event in COLUMNS, and `rules` and `event_data` as JSON."""
    said = told["said"]
    who = said.get("who") if isinstance(said.get("who"), dict) else {}
    names = {
        "event_type": "type",
        "source": "source",
        "event_id": "id",
        "subject": "subject",
        "log_source": "log_source",
    }
    return {
        **{name: told[name] for name in ("chain_no", "seq", "record_hash", "event_time", "appended_at")},
        "kind": "poison" if row["kind"] == Kind.POISON else "event",
        **{name: said.get(field) for name, field in names.items()},
        **{name: who.get(name) for name in ("actor", "action", "resource", "origin", "outcome")},
        "risk": risk_named(row["risk"]),
        "risk_floor": risk_named(row["floor"]),
        "risk_ai": risk_named(row["ai"]),
        "ai_summary": latest_summary(said, told["readings"]),
        "summary_by": row["by"],
        "ai_pending": row["pending"],
        "ai_tags": list(row["tags"]),
        "review": row["review"],
        "late": row["late"],
        "kafka_topic": told["topic"],
        "kafka_partition": told["partition"],
        "kafka_offset": told["source_offset"],
        "rules": said.get("rules") or [],
        "event_data": None if told["event_data"] is None else json.loads(told["event_data"]),
    }


def json_line(event: dict[str, Any]) -> bytes:
    """One event as a line of ASCII JSON; the data as it is in the database."""
    plain = {name: _plain(event[name]) for name in (*COLUMNS, "rules", "event_data")}
    return json.dumps(plain, separators=(",", ":")).encode() + b"\n"


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value


def _cells(row: Any) -> list[str]:
    return [_cell(row[name]) for name in COLUMNS]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    value = _plain(value)
    return csv_cell(value) if isinstance(value, str) else str(value)


def _csv_line(cells: Any) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue()


class _Hashing:
    """A file with the size and hash of what was written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = sha256()
        self._size = 0

    def write(self, piece: bytes) -> None:
        self._file.write(piece)
        self._digest.update(piece)
        self._size += len(piece)

    def result(self) -> tuple[int, str]:
        return self._size, self._digest.hexdigest()
