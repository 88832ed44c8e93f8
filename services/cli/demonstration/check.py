"""Every message by its identity: what Piperoll has recorded against what was sent.

A message through Kafka is known by its place (partition, offset), an event also by source and id. Each place must have
exactly one record, of the kind that the generator says; each identity must stand in the view as often as it was sent
as an event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg

from deploy.local.postgres import run_async
from schemas.record import Kind
from services.cli.demo_month.messages import Message
from services.cli.producing import Outcome, Place

_FATES = {"event": Kind.EVENT, "duplicate": Kind.DUPLICATE, "poison": Kind.POISON}
TAGS = {"incomplete": "catalog:incomplete", "unknown": "catalog:unknown"}
"""What an event with a flaw must be tagged with."""
FAILED = "enrichment:failed"
CONFLICT = "identity:conflict"
_PLACES = """
SELECT c.partition, r.source_offset, r.kind
FROM audit.record r JOIN audit.chain c USING (chain_no)
WHERE c.topic = $1 AND r.kind IN (1, 2, 3, 4)
"""
_EVENTS = """
SELECT source, event_id, event_type, risk, event_time, ai_tags, kafka_partition, kafka_offset
FROM audit_events WHERE kind = 'event'
"""

Sent = Sequence[tuple[Message, Outcome]]
"""Messages through Kafka, each with where it stands there."""


class Recorded(NamedTuple):
    """What the database has: the kinds of the records at each place, and the events."""

    kinds: dict[Place, list[int]]
    events: list[Event]


class Event(NamedTuple):
    """An event of the view."""

    source: str
    id: str
    type: str
    risk: str
    time: datetime
    tags: list[str]
    place: Place


class Verdict(NamedTuple):
    """What is wrong, a sentence each; all empty where everything is as it should be."""

    lost: list[str]
    doubled: list[str]
    mistaken: list[str]

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.mistaken)


class Findings(NamedTuple):
    """The verdict, how many records there are of each kind and events of each risk, and the incident by its steps."""

    verdict: Verdict
    kinds: Counter[int]
    risks: Counter[str]
    incident: dict[str, list[Event]]


def check(messages: Sequence[Message], sent: Sent, dsn: str, topic: str) -> Findings:
    """Reads all records of the events topic and compares them with what was sent."""
    recorded = read_recorded(dsn, topic)
    kinds = Counter(kind for found in recorded.kinds.values() for kind in found)
    risks = Counter(event.risk for event in recorded.events)
    return Findings(judge(messages, sent, recorded), kinds, risks, incident_of(sent, recorded))


def read_recorded(dsn: str, topic: str) -> Recorded:
    """All records of the events topic."""

    async def read() -> Recorded:
        connection = await asyncpg.connect(dsn)
        try:
            places = await connection.fetch(_PLACES, topic)
            events = await connection.fetch(_EVENTS)
        finally:
            await connection.close()
        kinds: dict[Place, list[int]] = {}
        for partition, offset, kind in places:
            kinds.setdefault(Place(partition, offset), []).append(kind)
        return Recorded(kinds, [_event(row) for row in events])

    return run_async(read())


def _event(row: Any) -> Event:
    place = Place(row["kafka_partition"], row["kafka_offset"])
    return Event(
        row["source"],
        row["event_id"],
        row["event_type"],
        row["risk"],
        row["event_time"],
        row["ai_tags"],
        place,
    )


def judge(messages: Iterable[Message], sent: Sent, recorded: Recorded) -> Verdict:
    """Compares. `messages`: all of the month; `sent`: those through Kafka, with where they stand there."""
    verdict = Verdict([], [], [])
    by_place = {event.place: event for event in recorded.events}
    for message, outcome in sent:
        _judge_place(message, outcome, recorded, by_place, verdict)
    wanted = Counter((message.source, message.id) for message in messages if message.fate == "event")
    there = Counter((event.source, event.id) for event in recorded.events)
    by_http = {(message.source, message.id) for message in messages if message.route != "kafka"}
    verdict.lost.extend(
        f"{source} {identifier}" for source, identifier in (wanted - there) if (source, identifier) in by_http
    )
    verdict.doubled.extend(
        f"{source} {identifier}, more often than sent" for source, identifier in (there - wanted)
    )
    tagged = {(event.source, event.id) for event in recorded.events if CONFLICT in event.tags}
    twins = {(message.source, message.id) for message in messages if message.flaw == "conflict"}
    verdict.mistaken.extend(
        f"{source} {identifier}: two events, none tagged {CONFLICT}" for source, identifier in twins - tagged
    )
    return verdict


def _judge_place(
    message: Message, outcome: Outcome, recorded: Recorded, by_place: dict[Place, Event], verdict: Verdict
) -> None:
    kinds = recorded.kinds.get(outcome, []) if isinstance(outcome, Place) else []
    name = _name(message, outcome)
    if not kinds:
        verdict.lost.append(name)
    elif len(kinds) > 1:
        verdict.doubled.append(f"{name} has {len(kinds)} records")
    elif kinds[0] != _FATES[message.fate]:
        verdict.mistaken.append(
            f"{name} was recorded as {Kind(kinds[0]).name.lower()}, not as {message.fate}"
        )
    elif message.fate == "event" and isinstance(outcome, Place):
        verdict.mistaken.extend(f"{name} {what}" for what in _differences(message, by_place.get(outcome)))


def _differences(message: Message, event: Event | None) -> list[str]:
    """How an event of the view is another than the one that was sent there."""
    if event is None:
        return ["is not in audit_events"]
    if (event.source, event.id) != (message.source, message.id):
        return [f"stands in audit_events as {event.source} {event.id}"]
    tag = TAGS.get(message.flaw)
    return [
        *([f"was recorded without the tag {tag}"] if tag and tag not in event.tags else []),
        *([f"could not be judged: {FAILED}"] if FAILED in event.tags else []),
    ]


def incident_of(sent: Sent, recorded: Recorded) -> dict[str, list[Event]]:
    """The incident as it was recorded: the events of each step, found by their place."""
    by_place = {event.place: event for event in recorded.events}
    found: dict[str, list[Event]] = {}
    for message, outcome in sent:
        if message.story and message.fate == "event" and isinstance(outcome, Place) and outcome in by_place:
            found.setdefault(message.story, []).append(by_place[outcome])
    return found


def _name(message: Message, place: Outcome) -> str:
    where = f"{place.partition}/{place.offset}" if isinstance(place, Place) else f"not acknowledged: {place}"
    return f"{message.source} {message.id} ({where})" if message.id else f"{message.flaw} ({where})"
