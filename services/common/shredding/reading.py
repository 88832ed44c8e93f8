"""An event as its sender meant it: what is declared of it does not go by whether it is a valid CloudEvent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from schemas.cloudevents import KAFKA_PREFIX
from schemas.events import Event, read_message

_BINARY = KAFKA_PREFIX


def read_declared(value: bytes | None, headers: Sequence[tuple[str, bytes | None]]) -> Event:
    """`read_message`; but a CloudEvent that lacks something, which is bare JSON to whoever reads it later, is read as the
    CloudEvent that it was to be, and a short form has its attributes. Raises PoisonError."""
    event = read_message(value, headers)
    if event.form == "short":
        event.attributes = event.raw
    if event.form != "bare":
        return event
    said: dict[str, Any] = {
        name.removeprefix(_BINARY): content.decode("utf-8", "replace")
        for name, content in headers
        if name.startswith(_BINARY) and content is not None
    }
    if type(event.raw) is dict and "specversion" in event.raw:
        event.form, event.attributes, event.data = "structured", event.raw, event.raw.get("data")
    elif said:
        event.form, event.attributes = "binary", said
    source, kind = event.attributes.get("source"), event.attributes.get("type")
    event.source, event.type = (source if type(source) is str else ""), (kind if type(kind) is str else "")
    return event
