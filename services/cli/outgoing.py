"""What `piperoll emit` sends: lines of a file or the demo month, as messages for Kafka or as requests for ingest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from schemas.events import is_reserved
from schemas.topics import BACKFILL
from services.cli.demo_month.messages import Message, compact
from services.cli.producing import Outgoing
from services.common.errors import FatalError, TransientError
from services.common.shredding.door import Door, RefusedError
from services.common.shredding.door import Message as DoorMessage


def from_lines(lines: Iterable[bytes], declaration: str = "") -> Iterator[Outgoing]:
    """One message a line, byte for byte as it is, keyed as design page 1 says; blank lines are passed over. With a
    `declaration` a CloudEvent gets the extension (and is written anew), any other line a header."""
    for line in lines:
        value = line.strip(b"\r\n")
        if not value.strip():
            continue
        event = _cloudevent(value)
        if event is None:
            yield Outgoing(None, value, [(BACKFILL, declaration.encode())] if declaration else [])
            continue
        key = str(event.get("partitionkey") or event.get("source") or "").encode() or None
        yield Outgoing(key, compact(event | {BACKFILL: declaration}) if declaration else value, [])


def encrypted(messages: Iterable[Outgoing], door: Door, refused: list[str]) -> Iterator[Outgoing]:
    """The messages as they may be sent, their declared fields encrypted. Those that cannot be are left out, and why is added
    to `refused`."""
    for message in messages:
        try:
            yield Outgoing(*door.encrypt(DoorMessage(*message)))
        except (RefusedError, TransientError, FatalError) as error:
            refused.append(str(error))


def lines_over_http(lines: Iterable[bytes], declaration: str = "") -> Iterator[bytes]:
    """The bodies of `from_lines` for ingest. With a `declaration` the short form gets it as a member: a header would
    not come through."""
    for message in from_lines(lines, declaration):
        value = message.value or b""
        short = _object(value) if message.headers else None
        yield value if short is None else compact(short | {BACKFILL: declaration})


def _cloudevent(value: bytes) -> dict[str, Any] | None:
    """The line as a structured CloudEvent; None for anything else, which is for Piperoll to judge."""
    parsed = _object(value)
    return parsed if parsed is not None and "specversion" in parsed else None


def _object(value: bytes) -> dict[str, Any] | None:
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def from_month(messages: Iterable[Message]) -> Iterator[Outgoing]:
    """The demo month's messages for the topic; the short form stands there as it would be POSTed."""
    for message in messages:
        yield Outgoing(message.key, message.value, message.headers)


def over_http(messages: Iterable[Message]) -> Iterator[bytes]:
    """Those of the demo month's messages that ingest takes, as JSON: it refuses poison, events that are incomplete,
    and sources that are Piperoll's own, and it takes bare JSON from no one."""
    for message in messages:
        refused = message.fate == "poison" or message.flaw == "incomplete" or is_reserved(message.source)
        if refused or message.form == "bare":
            continue
        yield structured(message) if message.form == "binary" else message.value or b""


def structured(message: Message) -> bytes:
    """A binary CloudEvent in the JSON format."""
    names = {name[3:]: text.decode() for name, text in message.headers if name.startswith("ce_")}
    data = json.loads(message.value or b"null")
    return compact(names | {"datacontenttype": "application/json", "data": data})
