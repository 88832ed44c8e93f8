"""Payload rows of many records at once: which of them need a closer look, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any, NamedTuple

import msgspec

from schemas.commitment import ENRICHMENT_LABEL, EVENT_ID_LABEL, PAYLOAD_LABEL, producer_id
from schemas.hashing import sha256_each
from schemas.record import Kind
from schemas.verification.contents import Content
from schemas.verification.image import Names

_EVENT = int(Kind.EVENT)


class _Named(msgspec.Struct, gc=False):
    source: str
    id: str


_named = msgspec.json.Decoder(_Named).decode


class Contents(NamedTuple):
    """Rows of audit.payload by column, in the order of their numbers (see Content)."""

    seqs: list[int]
    appended_us: list[int]
    salts: list[bytes | None]
    bodies: list[bytes | None]
    enrich_salts: list[bytes | None]
    enrichments: list[bytes | None]

    def row(self, at: int) -> Content:
        """One row."""
        return Content._make(column[at] for column in self)


class Said(NamedTuple):
    """What the records of some payload rows say, row for row."""

    kinds: bytes
    appended_us: Sequence[int]
    names: Names


def doubtful(rows: Contents, said: Said) -> list[int]:
    """The places of all rows that are not seen at once to be an event's, to be what the record commits to, and to name
    the event that the record says."""
    whole = [kind == _EVENT for kind in said.kinds]
    for column in rows[2:]:
        if None in column:
            whole = [good and item is not None for good, item in zip(whole, column, strict=True)]
    if all(whole):
        return _differing(rows, said)
    places = [at for at, good in enumerate(whole) if good]
    names = Names(*(list(compress(column, whole)) for column in said.names))
    some = Said(said.kinds, list(compress(said.appended_us, whole)), names)
    found = _differing(Contents._make(list(compress(column, whole)) for column in rows), some)
    return sorted({at for at, good in enumerate(whole) if not good} | {places[at] for at in found})


def _differing(rows: Any, said: Said) -> list[int]:
    """The same among events whose payload rows are whole."""
    names, salts = said.names, rows.salts
    try:
        named = [_named(enrichment) for enrichment in rows.enrichments]
        texts = [f"{one.source}\0{one.id}".encode() for one in named]
    except (ValueError, msgspec.MsgspecError):
        return list(range(len(rows.seqs)))
    sources = {one.source for one in named}
    producers = {source: producer_id(source) for source in sources}
    made: list[tuple[Sequence[Any], Sequence[Any]]] = [
        (rows.appended_us, said.appended_us),
        (sha256_each(PAYLOAD_LABEL, salts, rows.bodies), names.payloads),
        (sha256_each(ENRICHMENT_LABEL, rows.enrich_salts, rows.enrichments), names.enrichments),
        (sha256_each(EVENT_ID_LABEL, salts, texts), names.event_ids),
        ([digest[:8] for digest in sha256_each(b"", texts)], names.identities),
        ([producers[one.source] for one in named], names.producers),
    ]
    wrong: set[int] = set()
    for ours, theirs in made:
        if ours != theirs:
            wrong.update(at for at, (one, other) in enumerate(zip(ours, theirs, strict=True)) if one != other)
    return sorted(wrong)
