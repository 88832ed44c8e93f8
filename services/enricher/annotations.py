"""What the annotator writes: annotations, own events for audit.system, replies. Pure: values in, JSON bytes out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import uuid4

import msgspec

from schemas.enrichment import highest
from services.common.ai.asker import Exchange
from services.enricher.questions import Reading, Subject

SOURCE = "piperoll/annotator"
_encode = msgspec.json.encode


def annotation(subject: Subject, reading: Reading, model: str, prompt_version: str) -> bytes:
    """The annotation of one event. Topic id, partition, offset, model, prompt version and run are its name: the
    writer drops a repeat. It carries the model's own risk; whoever shows the event takes the highest."""
    return _encode(
        {
            "topic_id": subject.header.topic_id.hex(),
            "partition": subject.header.partition,
            "offset": subject.header.offset,
            "model": model,
            "prompt_version": prompt_version,
            "run": "",
            "summary": reading.summary,
            "tags": reading.tags,
            "risk": reading.risk,
            "by": model,
        }
    )


def inference_event(exchange: Exchange, prompt_version: str, now_us: int) -> bytes:
    """The own event of one request to a model."""
    time = _time(now_us)
    data = {
        "user_id": SOURCE,
        "model": exchange.model,
        "model_version": exchange.answered_by or exchange.model,
        "prompt_version": prompt_version,
        "input_hash": exchange.input_hash,
        "output_hash": exchange.output_hash,
        "tokens_in": exchange.tokens_in,
        "tokens_out": exchange.tokens_out,
        "latency_ms": exchange.latency_ms,
        "outcome": exchange.outcome,
        "status": exchange.status,
        "timestamp": time,
    }
    return _own_event("model_inference", uuid4().hex, time, data)


def passed_by_event(
    topic_id: bytes, partition: int, offsets: Sequence[int], reason: str, name: tuple[str, str], now_us: int
) -> bytes:
    """The own event that names events without a reading: source offsets as ranges `[first, last]`. `name` is model
    and prompt version. Its id follows from its content, so that a repeat after a crash is a duplicate."""
    model, prompt_version = name
    data = {
        "topic_id": topic_id.hex(),
        "partition": partition,
        "first": min(offsets),
        "last": max(offsets),
        "ranges": ranges(offsets),
        "count": len(set(offsets)),
        "reason": reason,
        "model": model,
        "prompt_version": prompt_version,
    }
    identity = sha256(_encode(data)).hexdigest()[:32]
    return _own_event("piperoll.annotator.passed-by", identity, _time(now_us), data)


def reply(subject: Subject, reading: Reading | None, model: str) -> bytes:
    """The last word to an ingest that waits: the model's reading over that of the rules, or that of the rules."""
    document = subject.document
    tags = document.tags if reading is None else list(dict.fromkeys([*document.tags, *reading.tags]))
    return _encode(
        {
            "token": (subject.token or b"").decode("utf-8", "replace"),
            "id": document.id,
            "summary": document.summary if reading is None else reading.summary,
            "tags": tags,
            "risk": document.risk if reading is None else highest(document.risk, reading.risk),
            "by": document.by if reading is None else model,
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


def _own_event(kind: str, identity: str, time: str, data: dict[str, Any]) -> bytes:
    return _encode(
        {
            "specversion": "1.0",
            "id": identity,
            "source": SOURCE,
            "type": kind,
            "time": time,
            "datacontenttype": "application/json",
            "data": data,
        }
    )


def _time(us: int) -> str:
    return datetime.fromtimestamp(us / 1_000_000, tz=UTC).isoformat(timespec="milliseconds")
