"""The full log of a period beside its report, streamed: memory does not grow with the number of events."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from services.reporter.escape import csv_cell
from services.reporter.period import Period
from services.reporter.report import Attachment
from services.reporter.store import Snapshot

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
    snapshot: Snapshot, period: Period, folder: Path, progress: Callable[[int], None] = lambda _count: None
) -> list[Attachment]:
    """events.jsonl with all columns and the data, events.csv for spreadsheets; both in the order of event times."""
    lines, table = folder / "events.jsonl", folder / "events.csv"
    count = 0
    with replacing(lines) as lines_file, replacing(table) as table_file:
        written = (_Hashing(lines_file), _Hashing(table_file))
        written[1].write(("\ufeff" + _csv_line(COLUMNS)).encode())
        async for row in _rows(snapshot, period):
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


def _rows(snapshot: Snapshot, period: Period) -> AsyncIterator[Any]:
    return snapshot.stream("log", period.rule, period.start, period.end, prefetch=_STREAMED)


def json_line(row: Any) -> bytes:
    """One event as a line of ASCII JSON; the data as it is in the database."""
    event = {name: _plain(row[name]) for name in COLUMNS}
    event["rules"] = _parsed(row["rules"])
    event["event_data"] = _parsed(row["event_data"])
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if hasattr(value, "isoformat") else value


def _parsed(raw: str | None) -> Any:
    return None if raw is None else json.loads(raw)


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
