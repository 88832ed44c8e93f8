"""The edition document: everything that a report says, as one JSON object (`piperoll-report/v2`).

Its formats are made of it alone. It is made of the records below a cut and of `Inputs`, so that the same inputs give the
same bytes however much the log has grown since; `piperoll report rebuild` rests on it. Data flows one way:
records below the cut -> document -> formats -> deliveries.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from services.reporter.contents.gone import gone_since
from services.reporter.contents.whole import read_contents
from services.reporter.grounding.summary import Choosing
from services.reporter.inputs import BY_HAND, Cut, Filters, Inputs
from services.reporter.store import Snapshot

FORMAT = "piperoll-report/v2"

__all__ = [
    "BY_HAND",
    "FORMAT",
    "Cut",
    "Filters",
    "Inputs",
    "canonical",
    "edition_hash",
    "gone_since",
    "make_document",
]


async def make_document(
    snapshot: Snapshot, inputs: Inputs, choosing: Choosing | None = None
) -> dict[str, Any]:
    """The document of an edition, counted from the records below the cut. `choosing` asks a model, once, how the executive
    summary is to be; it is told what it chose by `inputs.summary` ever after. Raises TransientError where the database does
    not answer, ConfigurationError where `piperoll migrate` was not run."""
    contents, _ = await read_contents(snapshot, inputs, choosing)
    return {"format": FORMAT} | contents


def canonical(document: Mapping[str, Any]) -> bytes:
    """The document's bytes, the same each time: keys sorted, no spaces, ASCII, one newline at the end. Their SHA-256 is the
    edition's hash. Raises ValueError for what JSON has no form for (NaN)."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode() + b"\n"


def edition_hash(document: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical bytes, in hex."""
    return sha256(canonical(document)).hexdigest()
