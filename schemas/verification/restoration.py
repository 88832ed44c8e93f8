"""Puts the original of an edited record together again, from all that is stored beside it.

The hash of the original is known (its own row kept it, or the record after it names it), so a guess is proved by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any, NamedTuple

from schemas.commitment import ABSENT_HASH, enrichment_commitment, event_id, payload_commitment, producer_id
from schemas.record import ABSENT, NO_TIMESTAMP_TYPE, Kind, Record, encode, record_hash
from schemas.verification.contents import Content, read_named
from schemas.verification.links import Link

_MOST_SUSPECTS = 8
"""Beyond that the subsets are not tried one by one."""


class Restored(NamedTuple):
    """The fields that were changed (or are suspected), and whether the original fits together again."""

    fields: tuple[str, ...]
    proved: bool


def restore(link: Link, neighbours: dict[str, Any], epochs: tuple[int, ...], target: bytes) -> Restored:
    """Which fields of an edited record differ from what columns, contents and neighbours say, and whether putting
    those back gives the record with hash `target`: the smallest such set of fields."""
    record = link.record
    if record is None:
        return Restored(("leaf",), proved=False)
    evidence = _column_evidence(link) | _content_evidence(record, link.content) | neighbours
    suspects = tuple(name for name, value in evidence.items() if getattr(record, name) != value)
    for names in _subsets(suspects):
        guess = record._replace(**{name: evidence[name] for name in names})
        if record_hash(encode(guess)) == target:
            return Restored(names, proved=True)
        for name, value in _variations(epochs):
            varied: dict[str, Any] = {name: value}
            if record_hash(encode(guess._replace(**varied))) == target:
                return Restored((*names, name), proved=True)
    return Restored(suspects, proved=False)


def _column_evidence(link: Link) -> dict[str, Any]:
    row = link.row
    return {
        "kind": row.kind,
        "source_offset": ABSENT if row.source_offset is None else row.source_offset,
        "appended_us": row.appended_us,
        "event_time_us": ABSENT if row.event_time_us is None else row.event_time_us,
    }


def _content_evidence(record: Record, content: Content | None) -> dict[str, Any]:
    """The fields that follow from the payload row."""
    if content is None:
        return {}
    known: dict[str, Any] = {}
    if content.salt is not None and content.body is not None:
        known["payload_commitment"] = payload_commitment(content.salt, content.body)
    if content.enrich_salt is not None and content.enrich is not None:
        known["enrichment_commitment"] = enrichment_commitment(content.enrich_salt, content.enrich)
    elif content.enrich_salt is None and content.enrich is None:
        known["enrichment_commitment"] = ABSENT_HASH
    return known | _identity_evidence(record, content)


def _identity_evidence(record: Record, content: Content) -> dict[str, Any]:
    if record.kind != Kind.EVENT or content.enrich is None:
        return {}
    try:
        named = read_named(content.enrich)
    except ValueError:
        return {}
    known: dict[str, Any] = {"producer_id": producer_id(named.source)}
    if content.salt is not None:
        known["event_id"] = event_id(content.salt, named.source, named.id)
    return known


def _subsets(suspects: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """All subsets, the smallest first; where there are too many, none and all."""
    if len(suspects) > _MOST_SUSPECTS:
        yield from ((), suspects)
        return
    for size in range(len(suspects) + 1):
        yield from combinations(suspects, size)


def _variations(epochs: tuple[int, ...]) -> Iterator[tuple[str, int]]:
    """Values that a field without a second copy can well have had."""
    for kafka_ts_type in (0, 1, NO_TIMESTAMP_TYPE):
        yield "kafka_ts_type", kafka_ts_type
    yield "producer_seq", 0
    for epoch in epochs:
        yield "writer_epoch", epoch
