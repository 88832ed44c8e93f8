"""Which records an erasure is about: by subject or by id, with their repeats and what annotations say of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from schemas.own_events import EventPlace
from schemas.record import ABSENT, decode
from services.cli.erasure.keys import Subject
from services.common.errors import ConfigurationError
from services.common.queries import load_queries
from services.reporter.store import open_snapshot, translated

QUERIES = load_queries(Path(__file__).with_name("queries.sql"))
Field = Literal["actor", "subject", "key", "any"]
_WORD = rb"[A-Za-z0-9_]"


class FoundRecord(NamedTuple):
    """A record whose payload is to go. `kafka_us`: Kafka's time of the message, None where it has none. Times: microseconds
    since 1970 UTC."""

    chain_no: int
    seq: int
    kind: int
    topic: str
    place: EventPlace
    appended_us: int
    kafka_us: int | None
    record_hash: bytes
    event_type: str

    @property
    def id(self) -> int:
        """The number under which the view and reports show it."""
        return (self.chain_no << 48) | self.seq


async def query(dsn: str, name: str, *arguments: Any) -> list[Any]:
    """The rows of a query of queries.sql, as the reporter's role sees them."""
    async with open_snapshot(dsn) as snapshot:
        with translated():
            rows: list[Any] = await snapshot.connection.fetch(QUERIES[name], *arguments)
    return rows


async def find_subject(dsn: str, subject: Subject, field: Field) -> list[FoundRecord]:
    """The events that concern a subject: which it or its key names as actor or CloudEvents subject, or in which the id of
    its key (key), or its text too (any), stands as a word of its own, as UTF-8 or as JSON escapes it; annotations too."""
    if not subject.text.strip():
        raise ConfigurationError("--subject is empty: that would be every event")
    if field in ("any", "key"):
        texts = [text for text in subject.texts if field == "any" or text == subject.key_id]
        forms = sorted({form for text in texts for form in (text.encode(), json.dumps(text)[1:-1].encode())})
        words = [re.compile(rb"(?<!%b)%b(?!%b)" % (_WORD, re.escape(form), _WORD)) for form in forms]
        rows = await query(dsn, "containing", forms)
        return [_found(row) for row in rows if _stands_in(row, words)]
    wanted = (subject.names, []) if field == "actor" else ([], subject.names)
    return [_found(row) for row in await query(dsn, "named", *wanted)]


def _stands_in(row: Any, words: Sequence[re.Pattern[bytes]]) -> bool:
    return any(word.search(part) for word in words for part in (row["body"], row["enrich"]) if part)


async def find_ids(dsn: str, ids: Sequence[int]) -> list[FoundRecord]:
    """The events with these ids. Raises ConfigurationError where one is none."""
    rows = await query(dsn, "by_id", list(ids))
    found = [_found(row) for row in rows]
    missing = sorted(set(ids) - {record.id for record in found})
    if missing:
        raise ConfigurationError(f"{missing[0]} is the id of no event: see column id of audit_events")
    return found


async def find_about(dsn: str, found: Iterable[FoundRecord]) -> list[FoundRecord]:
    """What else there is of these: their repeats, and the annotations about them."""
    records = list(found)
    numbers = ([one.chain_no for one in records], [one.seq for one in records])
    places = map(list, zip(*(one.place for one in records), strict=True)) if records else ([], [], [])
    rows = [*await query(dsn, "repeats", *numbers), *await query(dsn, "annotations", *places)]
    known = {one.id for one in records}
    return [one for one in map(_found, rows) if one.id not in known]


def places_to_name(found: Iterable[FoundRecord]) -> list[EventPlace]:
    """What the order names. Annotations would go with their events, and are named all the same: so that it also covers
    those whose records do not tell their event (made before records did)."""
    return sorted({one.place for one in found})


def _found(row: Any) -> FoundRecord:
    leaf = decode(row["leaf"])
    return FoundRecord(
        row["chain_no"],
        row["seq"],
        row["kind"],
        row["topic"],
        EventPlace(row["topic_id"], row["partition"], row["source_offset"]),
        row["appended_us"],
        None if leaf.kafka_ts_ms == ABSENT else leaf.kafka_ts_ms * 1000,
        row["record_hash"],
        row["event_type"] or "",
    )
