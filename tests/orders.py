"""Orders as the command line puts them on audit.system, for tests that need no command line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from uuid import uuid4

from tests.builders import Message


def order(kind: str, data: dict, identifier: str | None = None) -> Message:
    """An own event that is an order."""
    event = {
        "specversion": "1.0",
        "id": identifier or str(uuid4()),
        "source": "piperoll/test",
        "type": kind,
        "time": "2026-11-25T12:00:00Z",
        "datacontenttype": "application/json",
        "data": data,
    }
    return Message(None, json.dumps(event).encode(), [])


def erasure(places: Iterable[tuple[bytes, int, int]], **changes: object) -> Message:
    """The erasure of the events at (topic id, partition, source offset)."""
    events = [
        {"topic_id": topic_id.hex(), "partition": partition, "source_offset": offset}
        for topic_id, partition, offset in places
    ]
    data = {"by": "tests", "reason": "asked for", "requested_us": 1, "request": "r", "part": 1, "parts": 1}
    return order("piperoll.erasure", data | {"events": events} | changes)
