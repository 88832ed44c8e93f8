"""Who read what is a record too: an own event before anything is handed out, and one that says how it ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from services.cli.target import say, target_variables
from services.common.clock import system_clock
from services.common.errors import TransientError
from services.common.settings import KafkaSettings, read_settings
from services.reporter.runs.own_events import READ, SystemTopic, own_event, user


@contextmanager
def on_record(what: str, about: Mapping[str, Any], *, record: bool = True) -> Iterator[dict[str, Any]]:
    """Puts on record that the user reads `what` (export, proof, preview, …) of `about`, then lets it happen; what the body
    adds to the dict (`count`, …) is recorded when it is done. Where audit.system does not take it nothing is read: raises
    TransientError. `record` False leaves no record, and says so."""
    found: dict[str, Any] = {}
    if not record:
        say(f"this {what} is not put on record")
        yield found
        return
    topic = SystemTopic(read_settings(KafkaSettings, target_variables()), "piperoll-read")
    request = str(uuid4())
    said = {"by": user(), "what": what, "range": dict(about), "request": request}
    try:
        _say(topic, f"read-{request}", said)
        yield found
        if found:
            _say(topic, f"read-{request}-done", said | found)
    finally:
        topic.close()


def _say(topic: SystemTopic, identifier: str, data: dict[str, Any]) -> None:
    try:
        topic.record([own_event(READ, identifier, data, system_clock(), "piperoll/read")])
    except TransientError as error:
        raise TransientError(
            f"who reads is put on record first, and that cannot be done now: {error}; --no-record reads without a record"
        ) from error
