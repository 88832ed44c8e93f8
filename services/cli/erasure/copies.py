"""Every copy of erased content that is known to us: what goes by itself and when, and what is left to people. Pure, but for
`look_in`, which reads files."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from schemas.record import Kind
from schemas.topics import Topics
from services.cli.erasure.finding import FoundRecord

LARGEST_FILE = 256 * 1024 * 1024
_OPAQUE = (".pdf", ".zip", ".parquet", ".tgz", ".xz", ".zst", ".png")
_DAY_MS = 24 * 3600 * 1000


class Copy(NamedTuple):
    """Where a copy is. `gone_us`: when it will be gone by itself (microseconds since 1970 UTC), None: not by itself;
    `to_do` says what to do then, or to have it gone sooner."""

    where: str
    what: str
    gone_us: int | None
    to_do: str


def kafka_copies(
    topics: Topics, configs: Mapping[str, Mapping[str, str]], found: Sequence[FoundRecord]
) -> list[Copy]:
    """The messages as they still stand in Kafka, topic by topic. A message goes with its segment: at the latest one
    segment's time (segment.ms) and one retention (retention.ms) after it came."""
    events = [one for one in found if one.topic == topics.events]
    annotations = [one for one in found if one.kind == Kind.ANNOTATION]
    poison = [one for one in events if one.kind == Kind.POISON]
    held = [
        (topics.events, "the events as they came", events),
        (topics.enriched, "the events with their enrichment and salts", events),
        (topics.dead_letters, "the unreadable messages as they came; do not replay them", poison),
        (topics.annotations, "the AI's readings", annotations),
    ]
    copies = [
        _kafka_copy(name, what, some, configs[name]) for name, what, some in held if some and name in configs
    ]
    changelogs = sorted(name for name in configs if name.endswith("-changelog"))
    return copies + [
        Copy(name, "Faust's state, by key", None, "Compacted: gone only when the key is written anew.")
        for name in changelogs
    ]


def _kafka_copy(topic: str, what: str, found: Sequence[FoundRecord], config: Mapping[str, str]) -> Copy:
    keep_ms, segment_ms = int(config["retention.ms"]), int(config.get("segment.ms", 7 * _DAY_MS))
    parts: dict[int, list[int]] = {}
    for one in found:
        parts.setdefault(one.place.partition, []).append(one.place.source_offset)
    spans = "; ".join(f"partition {part}" for part in sorted(parts))
    what = f"{len(found):,} messages: {what} ({spans})"
    if keep_ms < 0:
        return Copy(
            topic,
            what,
            None,
            "retention.ms is -1, kept for ever: set a retention, or delete up to them with kafka-delete-records.",
        )
    newest_us = max(max(one.appended_us, one.kafka_us or 0) for one in found)
    return Copy(
        topic,
        what,
        newest_us + (keep_ms + segment_ms) * 1000,
        "To have them gone sooner: kafka-delete-records, which takes everything before them too.",
    )


def database_copies(found: Sequence[FoundRecord]) -> list[Copy]:
    """What PostgreSQL and its surroundings still hold."""
    months = ", ".join(sorted({f"audit.payload of {_month(one.appended_us)}" for one in found}))
    again = (
        "Let them expire as your backup rules say. After a restore run `piperoll verify`: erased payloads that came "
        "back are findings (not-erased); give the erasure again."
    )
    return [
        Copy(
            "PostgreSQL, dead rows",
            f"the deleted rows on disk ({months})",
            None,
            "VACUUM these tables; autovacuum does in its time.",
        ),
        Copy(
            "PostgreSQL, WAL and replicas", "the rows as they were written", None, "WAL archives: as backups."
        ),
        Copy("Backups and exports of the database", "whatever was copied before", None, again),
    ]


def key_copies() -> list[Copy]:
    """What could still bring back a key that was destroyed."""
    return [
        Copy(
            "Backups of SUBJECT_KEYS_DIR",
            "the key, in those made while it lived",
            None,
            "Whoever has one can still read every copy: let them expire before your time for erasure is over, and after a "
            "restore give the erasure again.",
        )
    ]


def outside_copies(found: Sequence[FoundRecord]) -> list[Copy]:
    """What has left our hands, as far as can be known."""
    copies = [
        Copy(
            "Reports and evidence packs that were delivered",
            "sentences and figures of the time before",
            None,
            "Ask their readers to delete them; build the period's report anew.",
        ),
        Copy(
            "Repeats that still come",
            "recorded with a salted commitment (tag identity:unchecked), not with their content",
            None,
            "Where an app sends these events again: `piperoll erase --id` of the erased event takes them too.",
        ),
        Copy(
            "The apps that sent the events, and log shippers", "their own records", None, "Erase there too."
        ),
    ]
    if any(one.kind == Kind.ANNOTATION for one in found):
        copies.append(
            Copy(
                "The AI provider, prompt logs",
                "redacted texts of the events that were read",
                None,
                "As your contract with the provider says; `piperoll` keeps no log of prompts.",
            )
        )
    return copies


def _month(us: int) -> str:
    return datetime.fromtimestamp(us / 1_000_000, UTC).strftime("%Y-%m")


def look_in(folders: Iterable[Path], marks: Sequence[bytes]) -> Iterator[Copy]:
    """Files in which one of `marks` stands (ids, record hashes, the subject), and those that cannot be looked into."""
    for folder in folders:
        for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
            if not path.is_file():
                continue
            why = _unreadable(path)
            if why:
                yield Copy(str(path), f"not looked into: {why}", None, "Look yourself, or delete it.")
            elif _holds(path, marks):
                yield Copy(str(path), "names what was erased", None, "Delete it, or build it anew.")


def _unreadable(path: Path) -> str:
    if path.suffix.lower() in _OPAQUE:
        return f"{path.suffix} hides its text"
    return "too large" if path.stat().st_size > LARGEST_FILE else ""


def _holds(path: Path, marks: Sequence[bytes]) -> bool:
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            return True  # not what its name says: for people to look at
    return any(mark in content for mark in marks)


def marks_of(found: Iterable[FoundRecord], subject: str | None) -> list[bytes]:
    """How reports and exports name a record: its id, and the beginning of its hash."""
    marks = [subject.encode()] if subject else []
    for one in found:
        marks += [str(one.id).encode(), one.record_hash.hex()[:16].encode()]
    return marks
