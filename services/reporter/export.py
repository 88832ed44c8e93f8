"""`piperoll export`: records as JSON lines, with all that is needed to verify them anew without a database."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any, BinaryIO

from services.reporter.store import Snapshot, open_snapshot

_STREAMED = 50


async def export_records(
    dsn: str,
    out: BinaryIO,
    *,
    since_us: int | None = None,
    until_us: int | None = None,
    event_type: str | None = None,
    progress: Callable[[int], None] = lambda _count: None,
) -> int:
    """Writes a line for each record, by append time from `since_us` to before `until_us` (microseconds since 1970
    UTC), of one event type or of all kinds; returns how many. In the order of chain and number."""
    count = 0
    async with open_snapshot(dsn) as snapshot:
        async for row in _rows(snapshot, since_us, until_us, event_type):
            out.write(export_line(row))
            count += 1
            if count % _STREAMED == 0:
                progress(count)
    out.flush()
    progress(count)
    return count


def _rows(snapshot: Snapshot, *arguments: Any) -> Any:
    return snapshot.stream("export", *arguments, prefetch=_STREAMED)


def export_line(row: Any) -> bytes:
    """One record. Hashes, ids, salts and leaf in hex; body and enrichment, exact bytes, in base64; `event` is the
    enrichment parsed, for reading."""
    enrich = row["enrich"]
    line = {
        "chain_no": row["chain_no"],
        "chain_id": row["chain_id"].hex(),
        "topic": row["topic"],
        "topic_id": row["topic_id"].hex(),
        "partition": row["partition"],
        "cluster_id": row["cluster_id"],
        "seq": row["seq"],
        "kind": row["kind"],
        "source_offset": row["source_offset"],
        "appended_us": row["appended_us"],
        "event_time_us": row["event_time_us"],
        "identity_hash": row["identity_hash"],
        "record_hash": row["record_hash"].hex(),
        "leaf": row["leaf"].hex(),
        "payload_salt": _hex(row["salt"]),
        "body": _base64(row["body"]),
        "enrichment_salt": _hex(row["enrich_salt"]),
        "enrichment": _base64(enrich),
        "original_salt": _hex(row["original_salt"]),
        "event": _parsed(enrich),
    }
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def _hex(raw: bytes | None) -> str | None:
    return None if raw is None else raw.hex()


def _base64(raw: bytes | None) -> str | None:
    return None if raw is None else base64.b64encode(raw).decode()


def _parsed(enrich: bytes | None) -> Any:
    try:
        return None if enrich is None else json.loads(enrich)
    except ValueError:
        return None
