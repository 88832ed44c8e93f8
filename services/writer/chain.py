"""A chain as the writer holds it: its head in memory, and what is to be appended to it.

`Section.append` is the one place where a record is made: sequence number, link, commitments, hash and rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

import msgspec

from schemas.commitment import ABSENT_HASH, encode_body, enrichment_commitment, payload_commitment
from schemas.record import ABSENT, GENESIS_PREV, NO_TIMESTAMP_TYPE, Kind, pack
from services.writer.rows import UNNUMBERED, payload_row, record_row

RandomBytes = Callable[[int], bytes]


class Place(NamedTuple):
    """Where a lineage of chains belongs. `topic` is the one whose offsets are the source offsets; `read_topic` the
    one that the writer reads: audit.enriched for audit.events, else the same."""

    cluster_id: str
    topic: str
    partition: int
    read_topic: str


@dataclass(slots=True)
class Chain:
    """The head of a chain, as it will be once everything linked so far is committed. `number` is None until the
    database has opened the chain; `first_offset` is the first source offset that it covers."""

    number: int | None
    chain_id: bytes
    topic_id: bytes
    epoch: int
    next_seq: int
    last_hash: bytes
    next_source_offset: int
    last_appended_us: int


class Opening(NamedTuple):
    """A chain to be opened: the arguments of audit.open_chain that are not of the place."""

    previous: Chain | None
    first_offset: int


class Facts(NamedTuple):
    """The fields of a record that come from the event; the defaults are those of our own records."""

    kafka_ts_ms: int = ABSENT
    kafka_ts_type: int = NO_TIMESTAMP_TYPE
    event_time_us: int = ABSENT
    event_id: bytes = ABSENT_HASH
    producer_id: bytes = bytes(16)
    producer_seq: int = 0


OWN_FACTS = Facts()


class Target(NamedTuple):
    """The event that an annotation or a review is about."""

    topic_id: bytes
    partition: int
    offset: int


class AboutRow(NamedTuple):
    """A row of audit.annotation or audit.review without its chain."""

    target: Target
    seq: int
    appended_us: int


class Order(NamedTuple):
    """An own event (its type and record) that is carried out in the transaction that records it."""

    type: str
    seq: int


@dataclass(slots=True)
class Section:
    """What one batch appends to one chain. `records` are COPY rows, `payloads` their pieces."""

    chain: Chain
    opening: Opening | None = None
    records: list[bytes] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    annotations: list[AboutRow] = field(default_factory=list)
    reviews: list[AboutRow] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    kinds: dict[int, int] = field(default_factory=dict)

    def append(
        self,
        kind: int,
        appended_us: int,
        source_offset: int | None,
        facts: Facts,
        salt: bytes,
        body: bytes | None,
        enrich_salt: bytes = ABSENT_HASH,
        enrich: bytes | None = None,
        identity: int | None = None,
        commitment: bytes | None = None,
        original_salt: bytes | None = None,
    ) -> int:
        """Appends one record and returns its sequence number. `commitment` is given where the body is withheld."""
        chain = self.chain
        seq = chain.next_seq
        leaf = pack(
            kind,
            chain.chain_id,
            seq,
            chain.last_hash,
            chain.epoch,
            appended_us,
            ABSENT if source_offset is None else source_offset,
            *facts,
            payload_commitment(salt, body) if body is not None else commitment or ABSENT_HASH,
            ABSENT_HASH if enrich is None else enrichment_commitment(enrich_salt, enrich),
        )
        record_hash = sha256(b"\0" + leaf).digest()
        number = chain.number or UNNUMBERED
        event_time = None if facts.event_time_us == ABSENT else facts.event_time_us
        self.records.append(
            record_row(number, seq, kind, source_offset, appended_us, event_time, identity, record_hash, leaf)
        )
        self.payloads += payload_row(number, seq, appended_us, salt, body, enrich_salt, enrich, original_salt)
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        chain.next_seq = seq + 1
        chain.last_hash = record_hash
        chain.last_appended_us = appended_us
        if source_offset is not None:
            chain.next_source_offset = source_offset + 1
        return seq


def open_chain(
    place: Place,
    chain_id: bytes,
    topic_id: bytes,
    read_topic_id: bytes,
    first_offset: int,
    previous: Chain | None,
    why: str | None,
    now_us: int,
    random: RandomBytes,
) -> Section:
    """A new chain that begins with its genesis record."""
    chain = Chain(None, chain_id, topic_id, 1, 0, GENESIS_PREV, first_offset, now_us)
    section = Section(chain, Opening(previous, first_offset))
    genesis = {
        "format": "audit-rec/v1",
        "cluster_id": place.cluster_id,
        "topic": place.topic,
        "topic_id": topic_id.hex(),
        "partition": place.partition,
        "first_offset": first_offset,
        "read_topic": place.read_topic,
        "read_topic_id": read_topic_id.hex(),
        "previous": None
        if previous is None
        else {
            "chain_id": previous.chain_id.hex(),
            "last_hash": previous.last_hash.hex(),
            "next_seq": previous.next_seq,
            "why": why,
        },
    }
    section.append(Kind.GENESIS, now_us, None, OWN_FACTS, random(32), own_body(genesis))
    return section


def own_body(document: Mapping[str, object]) -> bytes:
    """The body of a record of our own: JSON as the value, no key, no headers."""
    return encode_body(None, msgspec.json.encode(document), [])
