"""What own events say: read as data that may be anything, since a report is made of any record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

LONGEST = 2000
"""Characters of a text of somebody's; the rest is cut."""


def object_of(raw: str | None) -> dict[str, Any]:
    """The JSON of a column; an empty object for anything but an object."""
    if raw is None:
        return {}
    said = json.loads(raw)
    return said if isinstance(said, dict) else {}


def data_of(raw: str | None) -> dict[str, Any]:
    """The data of a CloudEvent in such a column."""
    data = object_of(raw).get("data")
    return data if isinstance(data, dict) else {}


def text_in(data: Mapping[str, Any], name: str) -> str:
    """A text, cut to 2,000 characters; what is no text as JSON; an empty one where there is none."""
    value = data.get(name)
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def number_in(data: Mapping[str, Any], name: str) -> int | None:
    """A whole number, None for anything else."""
    value = data.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
