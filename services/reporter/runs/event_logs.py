"""The event logs of editions: written once, however many recipients get them."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import mkdtemp

from services.reporter.attachments import Attachment, replacing, write_log
from services.reporter.contents.selection import Selection
from services.reporter.inputs import Inputs
from services.reporter.store import Snapshot


class EventLogs:
    """On disk until `clear`: they may be of gigabytes. A recipient gets a copy, so that nobody's changes are another's."""

    def __init__(self) -> None:
        self._written: dict[str, tuple[Path, list[Attachment]]] = {}

    async def of(self, snapshot: Snapshot, inputs: Inputs) -> list[Attachment]:
        """Names, sizes and hashes of the log's files. Raises TransientError, OSError."""
        return (await self._there(snapshot, inputs))[1]

    async def put(self, snapshot: Snapshot, inputs: Inputs, folder: Path) -> list[Path]:
        """Puts the files into a folder; their paths."""
        source, files = await self._there(snapshot, inputs)
        names = [file.name for file in files]
        await asyncio.to_thread(_copy, source, folder, names)
        return [folder / name for name in names]

    def clear(self) -> None:
        for folder, _ in self._written.values():
            shutil.rmtree(folder, ignore_errors=True)
        self._written.clear()

    async def _there(self, snapshot: Snapshot, inputs: Inputs) -> tuple[Path, list[Attachment]]:
        key = f"{inputs.edition} {inputs.made_us}"
        if key not in self._written:
            folder = Path(mkdtemp(prefix="piperoll-report-"))
            try:
                selection = Selection(snapshot, inputs.period, inputs.cut, inputs.filters)
                self._written[key] = folder, await write_log(selection, folder)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        return self._written[key]


@asynccontextmanager
async def open_logs() -> AsyncIterator[EventLogs]:
    """For one edition."""
    logs = EventLogs()
    try:
        yield logs
    finally:
        await asyncio.to_thread(logs.clear)


def _copy(source: Path, folder: Path, names: list[str]) -> None:
    for name in names:
        with (source / name).open("rb") as file, replacing(folder / name) as target:
            shutil.copyfileobj(file, target, 1 << 20)
