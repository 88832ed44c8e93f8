"""What the annotator writes: annotations, own events for audit.system, replies. Pure: values in, JSON bytes out."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

import msgspec

from schemas.enrichment import highest, told
from services.common.ai.record import iso, own_event
from services.enricher.questions import Reading, Subject

SOURCE = "piperoll/annotator"
_encode = msgspec.json.encode


class By(NamedTuple):
    """Who reads: model, prompt version, and the run of `piperoll enrich again` (empty for the annotator)."""

    model: str
    prompt_version: str
    run: str = ""


def annotation(subject: Subject, reading: Reading, by: By) -> bytes:
    """The annotation of one event. Topic id, partition, offset, model, prompt version and run are its name: the
    writer drops a repeat. It carries the model's own risk; whoever shows the event takes the highest."""
    return _encode(
        {
            "topic_id": subject.header.topic_id.hex(),
            "partition": subject.header.partition,
            "offset": subject.header.offset,
            "model": by.model,
            "prompt_version": by.prompt_version,
            "run": by.run,
            "summary": reading.summary,
            "tags": reading.tags,
            "risk": reading.risk,
            "by": by.model,
        }
    )


def passed_by_event(
    topic_id: bytes, partition: int, offsets: Sequence[int], reason: str, by: By, now_us: int
) -> bytes:
    """The own event that names events without a reading: source offsets as ranges `[first, last]`. Its id follows from its content, so that a repeat after a crash is a duplicate."""
    data = {
        "topic_id": topic_id.hex(),
        "partition": partition,
        "first": min(offsets),
        "last": max(offsets),
        "ranges": ranges(offsets),
        "count": len(set(offsets)),
        "reason": reason,
        "model": by.model,
        "prompt_version": by.prompt_version,
    }
    identity = sha256(_encode(data)).hexdigest()[:32]
    return own_event(SOURCE, "piperoll.annotator.passed-by", identity, iso(now_us), data)


def reply(subject: Subject, reading: Reading | None, model: str) -> bytes:
    """The last word to an ingest that waits: the clause by rules and the model's text after it, the tags of both and the
    higher risk; or what the event's enrichment says, where no reading came."""
    document = subject.document
    known = told(document)
    tags = known.tags if reading is None else list(dict.fromkeys([*known.tags, *reading.tags]))
    return _encode(
        {
            "token": (subject.token or b"").decode("utf-8", "replace"),
            "id": document.id,
            "summary": known.summary if reading is None else f"{document.summary} {reading.summary}",
            "tags": tags,
            "risk": known.risk if reading is None else highest(known.risk, reading.risk),
            "by": known.by if reading is None else model,
            "pending": False,
        }
    )


def ranges(offsets: Sequence[int]) -> list[list[int]]:
    """Offsets as sorted ranges of first and last: [3, 1, 2, 7] is [[1, 3], [7, 7]]."""
    found: list[list[int]] = []
    for offset in sorted(set(offsets)):
        if found and found[-1][1] == offset - 1:
            found[-1][1] = offset
        else:
            found.append([offset, offset])
    return found
