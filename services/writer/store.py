"""The writer's side of PostgreSQL: heads and earlier records read, batches appended by COPY in one transaction.

Two connections: one appends, the other looks up for the next batch meanwhile. Errors come out as TransientError (hold
and try again), FencedError (another writer has a chain) or FatalError.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from schemas.commitment import decode_body
from schemas.record import decode
from services.common.errors import FatalError, TransientError
from services.common.queries import load_queries
from services.writer.batch import Linked
from services.writer.chain import Chain, Place, Section
from services.writer.found import Candidate, Content, Found, Recorded, attributes_of
from services.writer.orders import (
    ORDER_TIMEOUT_S,
    Placed,
    carry_out,
    has_orders,
    leave_out_erased,
    take_lock,
)
from services.writer.rows import (
    COPY_HEADER,
    COPY_TRAILER,
    PAYLOAD_COLUMNS,
    PAYLOAD_PIECES,
    RECORD_COLUMNS,
    number_rows,
)

_QUERIES = load_queries(Path(__file__).with_name("queries.sql"))
_CHUNK_BYTES = 256 * 1024
_NO_KEY_NO_VALUE = b"\0\0"
_LOOK_UPS_BY_INDEX = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off"
"""What is looked up is hardly ever there. The planner expects to find it, and where its statistics are old it would
read a whole month of payloads for each batch."""
_FENCED = ("PR001", "23505")
"""Another writer claimed the chain, or was faster with the same row."""
_TRANSIENT_CLASSES = ("08", "40", "53", "55", "57", "58")
"""Connection, rollback, resources (disk full), object in use, operator intervention, system errors."""
_TRANSIENT_STATES = ("25P02", "25P03", "25006")
"""Transaction aborted or timed out while idle, and a server that became a read-only standby."""


class FencedError(TransientError):
    """Another writer has a chain of this batch: find out what is still ours, then read the heads anew."""


@dataclass(slots=True)
class Lineage:
    """The chains of one partition. `chain_no` is the open one's number, None if there is none; `numbers` the chains
    of each topic id; `passed` the next source offset of the topic ids whose chains are all closed."""

    chain_no: int | None = None
    read_topic_id: bytes = b""
    next_read_offset: int = 0
    chain_id: bytes = b""
    topic_id: bytes = b""
    numbers: dict[bytes, list[int]] = field(default_factory=dict)
    passed: dict[bytes, int] = field(default_factory=dict)


@contextmanager
def _translated() -> Iterator[None]:
    """PostgreSQL's and the driver's errors as ours."""
    try:
        yield
    except asyncpg.PostgresError as error:
        state = error.sqlstate or ""
        if state in _FENCED:
            raise FencedError(f"another writer has the chain: {error}") from error
        if state[:2] in _TRANSIENT_CLASSES or state in _TRANSIENT_STATES:
            raise TransientError(f"PostgreSQL cannot now: {error} ({state})") from error
        raise FatalError(f"PostgreSQL refused: {error} ({state})") from error
    except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise TransientError(f"PostgreSQL is away or too slow: {error!r}") from error


class Store:
    """Not connected until `open`. `timeout_s` bounds every statement and every transaction."""

    def __init__(self, dsn: str, timeout_s: float) -> None:
        self._dsn = dsn
        self._timeout_s = timeout_s
        self._appending: asyncpg.Connection | None = None
        self._reading: asyncpg.Connection | None = None

    async def open(self) -> None:
        """Connects anew, whatever there was. Raises TransientError or FatalError."""
        await self.close()
        with _translated():
            self._appending = await self._connect()
            self._reading = await self._connect()
            await self._reading.execute(_LOOK_UPS_BY_INDEX)

    async def close(self) -> None:
        """Drops the connections without waiting for the server."""
        for connection in (self._appending, self._reading):
            if connection is not None:
                connection.terminate()
        self._appending = self._reading = None

    async def _connect(self) -> asyncpg.Connection:
        milliseconds = str(int(self._timeout_s * 1000))
        connection = await asyncpg.connect(
            self._dsn,
            timeout=10,
            command_timeout=self._timeout_s + 5,
            server_settings={
                "application_name": "piperoll-writer",
                # A writer that is stopped in mid-transaction must not hold up the one that takes over.
                "statement_timeout": milliseconds,
                "idle_in_transaction_session_timeout": milliseconds,
                "lock_timeout": milliseconds,
                "tcp_keepalives_idle": "30",
                "tcp_keepalives_interval": "10",
                "tcp_keepalives_count": "3",
                "work_mem": "64MB",  # the link check holds a batch's rows in memory
                "jit": "off",
            },
        )
        if await connection.fetchval("SHOW synchronous_commit") == "off":
            await connection.execute("SET synchronous_commit = on")  # else a committed head could be lost
        with suppress(
            asyncpg.InvalidParameterValueError
        ):  # built without: large bodies take six times the CPU
            await connection.execute("SET default_toast_compression = lz4")
        return connection

    def _reader(self) -> asyncpg.Connection:
        if self._reading is None:
            raise TransientError("PostgreSQL is not connected")
        return self._reading

    async def lineage(self, place: Place) -> Lineage:
        """All that is known of a partition's chains."""
        with _translated():
            rows = await self._reader().fetch(_QUERIES["lineage"], place.topic, place.partition)
        lineage = Lineage()
        for row in rows:
            lineage.numbers.setdefault(row["topic_id"], []).append(row["chain_no"])
            if row["closed"]:
                lineage.passed[row["topic_id"]] = row["next_source_offset"]
            else:
                lineage.chain_no, lineage.chain_id = row["chain_no"], row["chain_id"]
                lineage.topic_id, lineage.read_topic_id = row["topic_id"], row["read_topic_id"]
                lineage.next_read_offset = row["next_read_offset"]
        return lineage

    async def claim(self, lineage: Lineage) -> Chain:
        """The open chain's head under a new epoch: from now on its writer before cannot commit."""
        with _translated():
            [row] = await self._reader().fetch(_QUERIES["claim"], lineage.chain_no)
            last = await self._reader().fetchval(
                _QUERIES["last_appended"], lineage.chain_no, row["next_seq"] - 1
            )
        return Chain(
            lineage.chain_no,
            lineage.chain_id,
            lineage.topic_id,
            row["epoch"],
            row["next_seq"],
            row["last_hash"],
            row["next_source_offset"],
            last or 0,
        )

    async def open_months(self) -> list[str]:
        """Makes payload partitions ahead; returns the new ones."""
        with _translated():
            return [row[0] for row in await self._reader().fetch(_QUERIES["open_months"])]

    async def drop_retained(self) -> list[str]:
        """Drops payload partitions that retention orders have given up and that were in use then; returns them."""
        with _translated():
            return [row[0] for row in await self._reader().fetch(_QUERIES["drop_retained"])]

    async def look_up(
        self,
        chain_no: int | None,
        numbers: dict[bytes, list[int]],
        passed: Sequence[tuple[bytes, int]],
        identities: Sequence[int],
        since_us: int,
    ) -> Found:
        """What is recorded of passed (topic id, offset)s, and which earlier records have these identity hashes."""
        found = Found()
        with _translated():
            for topic_id in {topic_id for topic_id, _ in passed}:
                offsets = [offset for other, offset in passed if other == topic_id]
                rows = await self._reader().fetch(_QUERIES["recorded"], numbers.get(topic_id, []), offsets)
                for row in rows:
                    key = (topic_id, row["source_offset"])
                    found.recorded.setdefault(key, []).append(_recorded(row))
            if identities and chain_no is not None:
                rows = await self._reader().fetch(_QUERIES["candidates"], chain_no, identities, since_us)
                for row in sorted(rows, key=lambda row: row["seq"]):
                    found.candidates.setdefault(row["identity_hash"], []).append(_candidate(row))
        return found

    async def append(self, batch: Sequence[tuple[Place, Linked]]) -> None:
        """Everything of a batch in one transaction. When this returns, it is durable and the heads have moved; when
        it raises, either nothing or (the connection broke at the commit) all of it is: only the heads can tell."""
        if self._appending is None:
            raise TransientError("PostgreSQL is not connected")
        connection = self._appending
        linked_sections = [section for _, linked in batch for section in linked.sections]
        limit_s = max(self._timeout_s, ORDER_TIMEOUT_S) if has_orders(linked_sections) else self._timeout_s
        with _translated():
            async with asyncio.timeout(limit_s + 5), connection.transaction():
                await take_lock(connection, linked_sections)
                await _advance(connection, batch)  # locks the heads, fails at once if we are a zombie
                placed = [
                    Placed(place.partition, section)
                    for place, linked in batch
                    for section in await _open(connection, place, linked)
                ]
                sections = [section for _, section in placed]
                await leave_out_erased(connection, placed)
                await _copy_records(connection, sections)
                await _copy_payloads(connection, sections)
                await _note_events(connection, sections)
                await carry_out(connection, sections)


async def _advance(connection: asyncpg.Connection, batch: Sequence[tuple[Place, Linked]]) -> None:
    moves = []
    for _, linked in batch:
        if linked.sections and linked.sections[0].opening is None:
            chain = linked.sections[0].chain
            moves.append((chain.number, chain.epoch, linked.read_topic_id, linked.next_read_offset))
    if moves:
        await connection.execute(_QUERIES["advance"], *map(list, zip(*sorted(moves), strict=True)))


async def _open(connection: asyncpg.Connection, place: Place, linked: Linked) -> list[Section]:
    """Gives new chains their numbers, and puts these into their rows."""
    for section in linked.sections:
        opening, chain = section.opening, section.chain
        if opening is None:
            continue
        previous = None if opening.previous is None else opening.previous.number
        number = await connection.fetchval(
            _QUERIES["open_chain"],
            *(chain.chain_id, place.topic, chain.topic_id, place.partition, place.cluster_id, previous),
            *(opening.first_offset, linked.read_topic_id, linked.next_read_offset),
        )
        section.records = number_rows(section.records, number)
        section.payloads[::PAYLOAD_PIECES] = number_rows(section.payloads[::PAYLOAD_PIECES], number)
        chain.number = number
    return [section for section in linked.sections if section.records]


async def _copy_records(connection: asyncpg.Connection, sections: Sequence[Section]) -> None:
    if sections:
        await connection.copy_to_table(
            "record",
            schema_name="audit",
            columns=RECORD_COLUMNS,
            format="binary",
            source=_stream(section.records for section in sections),
        )


async def _copy_payloads(connection: asyncpg.Connection, sections: Sequence[Section]) -> None:
    if sections:
        await connection.copy_to_table(
            "payload",
            schema_name="audit",
            columns=PAYLOAD_COLUMNS,
            format="binary",
            source=_stream(section.payloads for section in sections),
        )


async def _note_events(connection: asyncpg.Connection, sections: Sequence[Section]) -> None:
    """Which events annotations and reviews are about."""
    for section in sections:
        for query, about in (("annotation", section.annotations), ("review", section.reviews)):
            rows = [(*row.target, section.chain.number, row.seq, row.appended_us) for row in about]
            if rows:
                await connection.executemany(_QUERIES[query], rows)


async def _stream(lists: Iterable[list[bytes]]) -> AsyncIterator[bytes]:
    """The rows in chunks of about _CHUNK_BYTES, so that little is held twice and other work goes on between."""
    chunk, size = [COPY_HEADER], 0
    for pieces in lists:
        for piece in pieces:
            chunk.append(piece)
            size += len(piece)
            if size >= _CHUNK_BYTES:
                yield b"".join(chunk)
                chunk, size = [], 0
    chunk.append(COPY_TRAILER)
    yield b"".join(chunk)


def _recorded(row: Any) -> Recorded:
    record = decode(row["leaf"])
    original = row["original_commitment"]
    commitment = record.payload_commitment if original is None else bytes.fromhex(original)
    return Recorded(record.kafka_ts_ms, commitment, row["salt"])


def _candidate(row: Any) -> Candidate:
    name = None if row["source"] is None else (row["source"], row["id"])
    if row["erased"]:
        return Candidate(row["seq"], True, name, None)
    headers = [] if row["headers"] is None else decode_body(_NO_KEY_NO_VALUE + row["headers"]).headers
    return Candidate(row["seq"], False, name, Content(row["value_hash"], attributes_of(headers)))
