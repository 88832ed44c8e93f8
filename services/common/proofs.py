"""Makes the proof file of one record out of the tables: what `piperoll prove` and ingest hand out.

A few look-ups by key and at most two tiles a level, however long the chain is. What is made is checked before it is handed
out, against the roots that were signed; the signatures are for whoever gets it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from schemas.commitment import identity_hash
from schemas.enrichment import clean
from schemas.proof_file import Opened, ProofFile
from schemas.seal import Seal, decode_seal
from schemas.tlog.merkle import Subtree, inclusion_proof, leaf_hash, verify_inclusion
from schemas.tlog.proof import TlogProof
from schemas.tlog.tiles import HEIGHT, WIDTH, subtrees
from schemas.verification.contents import read_named
from services.common.queries import load_queries

Connection = asyncpg.Connection | PoolConnectionProxy
_QUERIES = load_queries(Path(__file__).with_name("proofs.sql"))
SEAL_LOG = 0
_SEQ_BITS = 48
_LAST_PUBLICATIONS = 100
_MOST_EVENTS = 20
_OWN = "piperoll/"
_NUMBER = re.compile(r"[0-9]{1,19}").fullmatch
_OFFSET = re.compile(r"([0-9a-f]{32}):([0-9]{1,9}):([0-9]{1,18})").fullmatch


class State(StrEnum):
    """What became of a wish for a proof."""

    PROVED = "proved"
    ABSENT = "absent"
    AMBIGUOUS = "ambiguous"
    NOT_SEALED = "not-sealed"
    BROKEN = "broken"


class Proof(NamedTuple):
    """`file` of what was proved; else `text` says why there is none and what to do."""

    state: State
    text: str
    file: bytes = b""


class Place(NamedTuple):
    """Where a record stands."""

    chain_no: int
    seq: int

    @property
    def number(self) -> int:
        """The id that the view audit_events shows."""
        return self.chain_no << _SEQ_BITS | self.seq

    @classmethod
    def of(cls, number: int) -> Place:
        """The reverse."""
        return cls(number >> _SEQ_BITS, number & (1 << _SEQ_BITS) - 1)


class Offset(NamedTuple):
    """Where a message stands in Kafka: topic id, 16 bytes, partition, offset."""

    topic_id: bytes
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic_id.hex()}:{self.partition}:{self.offset}"


class Name(NamedTuple):
    """A CloudEvents source and id."""

    source: str
    id: str


Wanted = Place | Offset | Name


def read_wanted(text: str) -> Place | Offset | None:
    """The id of the view audit_events, or TOPIC-ID:PARTITION:OFFSET as a receipt has it; None for anything else."""
    if _NUMBER(text):
        return Place.of(int(text))
    parts = _OFFSET(text)
    return None if parts is None else Offset(bytes.fromhex(parts[1]), int(parts[2]), int(parts[3]))


async def prove(connection: Connection, wanted: Wanted, *, content: bool = True) -> Proof:
    """The proof of one record. Without `content` it shows that the record exists, and not what it says. Raises asyncpg's
    errors."""
    if isinstance(wanted, Place):
        return await _prove_record(connection, wanted, content=content)
    if isinstance(wanted, Offset):
        rows = await connection.fetch(_QUERIES["coordinates"], *wanted, _MOST_EVENTS)
        places = [Place(row["chain_no"], row["seq"]) for row in rows]
        why = f"Nothing is recorded of {wanted}; has the writer come to it yet?"
    else:
        places = await _find(connection, wanted)
        why = "No event of this source and id is recorded; are both written as they were sent?"
    if not places:
        return Proof(State.ABSENT, why)
    if len(places) > 1:
        numbers = ", ".join(str(place.number) for place in places)
        return Proof(State.AMBIGUOUS, f"Several records are meant by it: name one by its id: {numbers}")
    return await _prove_record(connection, places[0], content=content)


async def _find(connection: Connection, name: Name) -> list[Place]:
    """Where the payload of an event was erased, it is found by its hash alone. Own events (sources `piperoll/…`) are known
    by their ids, of which the first is recorded."""
    rows = await connection.fetch(_QUERIES["events"], identity_hash(*name), _MOST_EVENTS)
    found = [Place(row["chain_no"], row["seq"]) for row in rows if _is_named(row["enrich"], name)]
    if not found and name.source.startswith(_OWN):
        rows = await connection.fetch(
            _QUERIES["own_events"], identity_hash("own-event", name.id), _MOST_EVENTS
        )
        found = [Place(row["chain_no"], row["seq"]) for row in rows]
    return found


async def _prove_record(connection: Connection, place: Place, *, content: bool = True) -> Proof:
    if not (0 < place.chain_no < 2**15 and place.seq >= 0):
        return Proof(State.ABSENT, f"{place.number} is not the id of a record")
    row = await connection.fetchrow(_QUERIES["record"], *place)
    if row is None:
        return Proof(State.ABSENT, f"There is no record with the id {place.number}")
    covered = await connection.fetchrow(_QUERIES["first_checkpoint"], *place)
    if covered is None:
        return Proof(State.NOT_SEALED, await _not_sealed(connection, place))
    try:
        return await _assemble(connection, place, row, covered, content=content)
    except ValueError as error:
        return Proof(
            State.BROKEN,
            f"Record {place.number} is not as it was sealed, or what was sealed is damaged: {error}. "
            "`piperoll verify` says where.",
        )


async def _assemble(connection: Connection, place: Place, row: Any, covered: Any, *, content: bool) -> Proof:
    """Raises ValueError where records, tiles, seal and checkpoints do not fit together."""
    seal_no = covered["seal_no"]
    leaf = await connection.fetchval(_QUERIES["seal"], seal_no)
    if leaf is None:
        raise ValueError(f"seal {seal_no} is missing")
    _check_listed(decode_seal(leaf), row["leaf"], covered)
    top, cosignatures = await top_checkpoint(connection, seal_no)
    made = ProofFile(
        row["leaf"],
        _opened(row["salt"], row["body"], wanted=content),
        _opened(row["enrich_salt"], row["enrich"], wanted=content),
        await tlog_proof(connection, place.chain_no, place.seq, row["leaf"], covered),
        leaf,
        await tlog_proof(connection, SEAL_LOG, seal_no, leaf, top, cosignatures),
    )
    return Proof(State.PROVED, "", made.encode())


async def top_checkpoint(connection: Connection, seal_no: int) -> tuple[Any, bytes]:
    """A checkpoint of the seal log that covers a seal, and its cosignatures: of the cosigned ones the newest with the
    most; the newest of all where none is."""
    lines: dict[int, dict[bytes, None]] = {}
    for row in await connection.fetch(_QUERIES["cosignatures"], seal_no, _LAST_PUBLICATIONS):
        lines.setdefault(row["size"], {})[bytes(row["receipt"])] = None
    best = Counter({size: len(found) for size, found in lines.items()}).most_common(1)
    if best:
        size = best[0][0]
        top = await connection.fetchrow(_QUERIES["checkpoint"], SEAL_LOG, size)
        if top is not None:
            return top, b"".join(lines[size])
    top = await connection.fetchrow(_QUERIES["last_checkpoint"], SEAL_LOG)
    if top is None:
        raise ValueError("the seal log has no checkpoint")
    return top, b""


async def tlog_proof(
    connection: Connection, tree: int, index: int, leaf: bytes, checkpoint: Any, more: bytes = b""
) -> TlogProof:
    size: int = checkpoint["size"]
    subtree = await read_tiles(connection, tree, size, lambda zeroes: inclusion_proof(index, size, zeroes))
    hashes = inclusion_proof(index, size, subtree)
    verify_inclusion(leaf_hash(leaf), index, size, hashes, checkpoint["root"])
    return TlogProof(index, tuple(hashes), checkpoint["note"] + more)


async def read_tiles(
    connection: Connection, tree: int, size: int, ask: Callable[[Subtree], object]
) -> Subtree:
    """The tiles that a proof needs, which `ask` makes: first it is made of zeroes to see which."""
    wanted: dict[tuple[int, int], bytes] = {}
    ask(subtrees(lambda level, n: wanted.setdefault((level, n), bytes(WIDTH * 32))))
    levels, numbers = [level for level, _ in wanted], [n for _, n in wanted]
    full = {
        (row["level"], row["n"]): bytes(row["hashes"])
        for row in await connection.fetch(_QUERIES["tiles"], tree, levels, numbers)
    }
    for level, n in wanted:
        if (level, n) not in full:
            full[level, n] = await _right_edge(connection, tree, level, n, size)
    return subtrees(lambda level, n: full[level, n])


async def _right_edge(connection: Connection, tree: int, level: int, n: int, size: int) -> bytes:
    """A tile that is not full, as far as a tree of `size` leaves has it."""
    start, end = n * WIDTH, min((n + 1) * WIDTH, size >> HEIGHT * level)
    if level > 0:
        rows = await connection.fetch(_QUERIES["tile_roots"], tree, level - 1, start, end)
    elif tree == SEAL_LOG:
        rows = await connection.fetch(_QUERIES["seal_leaves"], start, end)
        return b"".join(leaf_hash(row[0]) for row in rows)
    else:
        rows = await connection.fetch(_QUERIES["record_hashes"], tree, start, end)
    return b"".join(row[0] for row in rows)


def _check_listed(seal: Seal, leaf: bytes, covered: Any) -> None:
    # The chain id stands at bytes 14 to 30 of every leaf.
    listed = seal.chain(leaf[14:30])
    if listed is None or (listed.size, listed.root) != (covered["size"], covered["root"]):
        raise ValueError(f"seal {seal.no} does not list the chain with the root of its checkpoint")


def _opened(salt: bytes | None, data: bytes | None, *, wanted: bool) -> Opened | None:
    return Opened(salt, data) if wanted and salt is not None and data is not None else None


def _is_named(enrich: bytes | None, name: Name) -> bool:
    """Whether an enrichment may be that of an event (long names stand in it cut); so may one that was erased."""
    if enrich is None:
        return True
    try:
        named = read_named(enrich)
    except ValueError:
        return False
    return (named.source, named.id) == (clean(name.source), clean(name.id))


async def _not_sealed(connection: Connection, place: Place) -> str:
    last = await connection.fetchrow(_QUERIES["last_checkpoint"], place.chain_no)
    if last is None:
        return "The chain has not been sealed yet: a sealer (`piperoll run sealer`) seals it within seconds of its start"
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=last["sealed_us"])
    return (
        f"Record {place.number} is not sealed yet: the last checkpoint of its chain, of {at.isoformat(timespec='seconds')}, "
        f"covers {last['size']} records. A running sealer covers it within seconds: ask again then"
    )
