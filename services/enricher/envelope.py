"""Events in envelopes: an object that holds the event, as itself or as JSON in a text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from schemas.events import PoisonError, parse_json
from schemas.mapping import Mapping


def unwrap(recognise: Callable[[dict[str, Any]], Mapping | None], data: Any) -> dict[str, Any]:
    """What rules look at in an event's data: the data, or the event in the envelope that it is; empty where it is no
    object."""
    if type(data) is not dict:
        return {}
    mapping = recognise(data)
    inner = unwrapped(mapping.within(data)) if mapping is not None and mapping.within is not None else None
    return inner or data


def unwrapped(value: Any) -> dict[str, Any] | None:
    """The event in an envelope: an object, or one written as JSON into a text; None where it is neither."""
    if type(value) is str and value.startswith("{"):
        try:
            value = parse_json(value.encode("utf-8", "replace"), [])
        except PoisonError:
            return None
    return value if type(value) is dict else None
