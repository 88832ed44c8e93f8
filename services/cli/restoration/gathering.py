"""Gathers bytes for what is damaged, from every source that was named."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from schemas.own_events import EventPlace
from schemas.record import RECORD_BYTES, Kind, Record, decode
from services.cli.dead_letters import Reader
from services.cli.restoration.damage import Damaged
from services.cli.restoration.sources import (
    ChainName,
    Spare,
    Spares,
    from_entries,
    from_export,
    from_messages,
    identity_of,
)
from services.common.queries import load_queries
from services.common.settings import KafkaSettings
from services.reporter.store import open_snapshot, translated

QUERIES = load_queries(Path(__file__).with_name("queries.sql"))
_IN_KAFKA = frozenset((Kind.EVENT, Kind.POISON))
"""Kinds whose salts the enricher made, so that they travel in the topic; the writer made those of all others."""


class Sources(NamedTuple):
    """Where to look: the topic, exports (newest last), published directories."""

    kafka: bool
    exports: Sequence[Path]
    entries: Sequence[Path]


class _Row(NamedTuple):
    leaf: bytes
    identity_hash: int | None
    body: bytes | None
    enrich: bytes | None


async def gather(settings: KafkaSettings, dsn: str, wanted: Sequence[Damaged], sources: Sources) -> Spares:
    """Bytes for as many of the damaged as there are any; whether they fit is decided when they are put back."""
    chains, rows = await _read(dsn, wanted)
    asked = set(wanted)
    spares: Spares = {}
    for path in sources.exports:
        spares |= from_export(path, {name.chain_id.hex(): number for number, name in chains.items()}, asked)
    for folder in sources.entries:
        for number, name in chains.items():
            numbers = [one.seq for one in wanted if one.chain_no == number and one.what == "leaf"]
            for seq, leaf in from_entries(folder, name, numbers):
                spares[number, seq, "leaf"] = Spare(leaf)
    for one in wanted:  # a leaf that is whole beside columns that are not is its own source
        if one.what == "leaf" and (one.chain_no, one.seq) in rows:
            spares.setdefault((one.chain_no, one.seq, one.what), Spare(rows[one.chain_no, one.seq].leaf))
    if sources.kafka:
        places = _places(wanted, chains, rows, spares)
        if places:
            with Reader.open(settings) as reader:
                spares |= from_messages(reader.messages(settings.topics.enriched), places)
    return _with_identities(spares, rows)


async def _read(
    dsn: str, wanted: Iterable[Damaged]
) -> tuple[dict[int, ChainName], dict[tuple[int, int], _Row]]:
    numbers: dict[int, list[int]] = {}
    for one in wanted:
        numbers.setdefault(one.chain_no, []).append(one.seq)
    rows: dict[tuple[int, int], _Row] = {}
    async with open_snapshot(dsn) as snapshot:
        with translated():
            names = [ChainName(*row) for row in await snapshot.connection.fetch(QUERIES["chains"])]
            for number, seqs in numbers.items():
                for row in await snapshot.connection.fetch(QUERIES["rows"], number, seqs):
                    rows[number, row["seq"]] = _Row(*list(row.values())[1:])
    return {name.chain_no: name for name in names}, rows


def _places(
    wanted: Iterable[Damaged],
    chains: dict[int, ChainName],
    rows: dict[tuple[int, int], _Row],
    spares: Spares,
) -> dict[EventPlace, list[tuple[int, Record]]]:
    """Where in audit.events the wanted payloads stand, by the records that commit to them."""
    places: dict[EventPlace, list[tuple[int, Record]]] = {}
    for chain_no, seq, what in wanted:
        if what != "payload" or chain_no not in chains:
            continue
        leaves = [spares.get((chain_no, seq, "leaf"), Spare()).leaf]
        leaves.append(rows[chain_no, seq].leaf if (chain_no, seq) in rows else None)
        for leaf in leaves:
            record = _record(leaf)
            if record is not None and record.seq == seq and record.kind in _IN_KAFKA:
                name = chains[chain_no]
                place = EventPlace(name.topic_id, name.partition, record.source_offset)
                places.setdefault(place, []).append((chain_no, record))
    return places


def _record(leaf: bytes | None) -> Record | None:
    try:
        return None if leaf is None or len(leaf) != RECORD_BYTES else decode(leaf)
    except ValueError:
        return None


def _with_identities(spares: Spares, rows: dict[tuple[int, int], _Row]) -> Spares:
    """Leaves with the column beside them that no hash binds: made again from the payload, else as it stands."""
    for (chain_no, seq, what), spare in spares.items():
        if what != "leaf" or spare.leaf is None or _record(spare.leaf) is None:
            continue
        payload: Any = spares.get((chain_no, seq, "payload")) or rows.get((chain_no, seq)) or Spare()
        identity = identity_of(spare.leaf, payload.body, payload.enrich)
        row = rows.get((chain_no, seq))
        if identity is None:
            identity = spare.identity_hash if row is None else row.identity_hash
        spares[chain_no, seq, what] = spare._replace(identity_hash=identity)
    return spares
