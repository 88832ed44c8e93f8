"""What was made again and is other than the edition: its files say so, have other names, and get neither record nor proof."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from services.reporter.evidence import Evidence
from services.reporter.formats.other import OTHER
from services.reporter.runs.editions import Rebuilt, gone_line
from services.reporter.runs.event_logs import EventLogs
from services.reporter.runs.making import Wish, write_files
from services.reporter.store import Snapshot

PREFIX = "other-than-edition."
"""Before the names of files that are none of the edition's."""
CHANGED = "nothing was erased since: records below its cut were changed; run `piperoll verify`"
_MOST_GONE = 20


def reasons(found: Rebuilt) -> list[str]:
    """Why it is other than it was, in lines."""
    lines = [f"since then: {gone_line(item)}" for item in found.gone[:_MOST_GONE]]
    if len(found.gone) > _MOST_GONE:
        lines.append(f"… and {len(found.gone) - _MOST_GONE} more (--json has them)")
    return lines or [CHANGED]


def marked(found: Rebuilt) -> dict[str, Any]:
    """The document, which says itself of which edition it is not, and why. So its hash is never the edition's."""
    told = {
        "edition": found.edition.id,
        "sha256": found.edition.sha256,
        "parts": found.parts,
        "why": reasons(found),
    }
    return found.document | {OTHER: told}


async def write_other(
    snapshot: Snapshot, found: Rebuilt, wish: Wish, out: Path, evidence: Evidence, logs: EventLogs
) -> list[Path]:
    """The files of what is not `same`, under PREFIX; those of the edition that may lie there stay as they are. Raises OSError,
    TransientError."""
    document = marked(found)
    with tempfile.TemporaryDirectory(prefix=".piperoll-", dir=out) as name:
        draft = Path(name)
        paths = await write_files(snapshot, found.edition.inputs, document, wish, draft, evidence, logs)
        return await asyncio.to_thread(lambda: [path.replace(out / f"{PREFIX}{path.name}") for path in paths])
