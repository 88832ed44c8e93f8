"""The sealer's side of PostgreSQL: reads records, keeps what was signed beside them. What it reads is not trusted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from struct import Struct
from typing import Any, NamedTuple

import asyncpg

from schemas.commitment import about_event, decode_body
from schemas.own_bodies import Duplicate, Skip, read_own
from schemas.own_events import Erasure, EventPlace, read_order
from schemas.record import RECORD_BYTES, Kind, decode
from schemas.tlog.merkle import leaf_hashes
from services.common.errors import ConfigurationError, TransientError
from services.common.queries import load_queries
from services.writer.sealer.look import Original, Stretch
from services.writer.sealer.tree import Edge, Tile, edge_tiles

_QUERIES = load_queries(Path(__file__).with_name("queries.sql"))
_WRONG_SETTINGS = ("28", "3D", "42")
_NUMBERS = Struct(">q")
_KIND_AT = 13
READ_AT_ONCE = 16_384
"""Records read from the database in one question: about 4 MiB of leaves."""


class Head(NamedTuple):
    """A chain and where it ends."""

    chain_no: int
    chain_id: bytes
    topic: str
    topic_id: bytes
    partition: int
    next_seq: int


class Checkpoint(NamedTuple):
    """A row of audit.checkpoint."""

    tree: int
    size: int
    root: bytes
    note: bytes
    sealed_us: int
    seal_no: int
    compared_size: int


class Store:
    """One connection, which holds the lead. Raises TransientError where PostgreSQL cannot, ConfigurationError where it
    will not let us in."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: asyncpg.Connection | None = None

    @property
    def connected(self) -> bool:
        return self._connection is not None and not self._connection.is_closed()

    async def open(self) -> None:
        await self.close()
        with _translated():
            self._connection = await asyncpg.connect(
                self._dsn,
                timeout=10,
                command_timeout=120,
                server_settings={"application_name": "piperoll-sealer", "jit": "off"},
            )

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def leads(self) -> bool:
        return bool(await self._value("leads"))

    async def heads(self) -> list[Head]:
        return [Head(*row) for row in await self._rows("heads")]

    async def leaves(self, chain_no: int, first: int, end: int) -> bytes:
        """The leaves `first` to before `end`, as far as they are there without a gap at the front."""
        row = (await self._rows("leaves", chain_no, first, end))[0]
        found: bytes = row["leaves"]
        if len(found) != row["count"] * RECORD_BYTES:  # a leaf of another length: nothing can be told apart
            found = found[: len(found) // RECORD_BYTES * RECORD_BYTES]
        return found

    async def stretch(self, chain_no: int, first: int, end: int) -> Stretch:
        """The records `first` to before `end` with all that the second look needs."""
        leaves = await self.leaves(chain_no, first, end)
        row = (await self._rows("salts", chain_no, first, end))[0]
        numbers = [number for (number,) in _NUMBERS.iter_unpack(row["numbers"])]
        salts = {seq: row["salts"][at * 32 : at * 32 + 32] for at, seq in enumerate(numbers)}
        stretch = Stretch(first, leaves, salts)
        kinds = leaves[_KIND_AT::RECORD_BYTES]
        if len(salts) < len(kinds):
            stretch.erased = await self._erased(chain_no, stretch)
        own = [first + at for at, kind in enumerate(kinds) if kind in (Kind.DUPLICATE, Kind.SKIP)]
        if own:
            originals, skips = {}, {}
            for seq, body, salt in await self._rows("own_bodies", chain_no, own):
                if kinds[seq - first] == Kind.SKIP:
                    said = _read(Skip, body)
                    if said is not None:
                        skips[seq] = (said.first, said.last)
                elif (duplicate := _read(Duplicate, body)) is not None:
                    originals[seq] = Original(_hex(duplicate.payload_commitment), salt)
            stretch.originals, stretch.skips = originals, skips
        return stretch

    async def _erased(self, chain_no: int, stretch: Stretch) -> frozenset[int]:
        """Source offsets of those records without a payload whose erasure a record of audit.system orders, in its own
        words: the index of erasures alone is the database's."""
        gone = {}
        for at in range(stretch.count):
            seq = stretch.first_seq + at
            if seq not in stretch.salts:
                gone[seq] = decode(stretch.leaves[at * RECORD_BYTES : (at + 1) * RECORD_BYTES])
        erased = set()
        for row in await self._rows("erasure_orders", chain_no, list(gone)):
            record, place = gone[row["seq"]], EventPlace(*row[1:4])
            concerned = record.kind != Kind.ANNOTATION or record.event_id == about_event(*place)
            if concerned and _orders(row["body"], place):
                erased.add(record.source_offset)
        return frozenset(erased)

    async def edge(self, tree: int, size: int) -> Edge:
        """The unfinished tiles of a chain's tree, made anew: compare its frontier before you rely on it."""
        first = size // 256 * 256
        leaves = await self.leaves(tree, first, size)
        entries = [leaves[at : at + RECORD_BYTES] for at in range(0, len(leaves), RECORD_BYTES)]
        return Edge(size, [leaf_hashes(entries), *await self._roots_of_full_tiles(tree, size)], entries)

    async def seal_edge(self, size: int) -> Edge:
        """The same of the seal log."""
        first = size // 256 * 256
        entries = [leaf for _, leaf in await self.seal_leaves(first, size)]
        return Edge(size, [leaf_hashes(entries), *await self._roots_of_full_tiles(0, size)], entries)

    async def _roots_of_full_tiles(self, tree: int, size: int) -> list[list[bytes]]:
        return [
            [row["root"] for row in await self._rows("tile_roots", tree, level - 1, first, end)]
            for level, first, end in edge_tiles(size)
        ]

    async def seal_leaves(self, first: int, end: int) -> list[tuple[int, bytes]]:
        return [(row["seal_no"], row["leaf"]) for row in await self._rows("seal_leaves", first, end)]

    async def seal_leaves_only(self, first: int, end: int) -> list[bytes]:
        """The same without numbers, as far as there is no gap at the front."""
        found = await self.seal_leaves(first, end)
        return [leaf for at, (number, leaf) in enumerate(found, first) if number == at]

    async def newest_note(self) -> bytes | None:
        note: bytes | None = await self._value("newest_checkpoint")
        return note

    async def own_event(self, identity: int) -> tuple[int, int] | None:
        """Chain number and sequence number of an event of our own, None where it is not recorded."""
        found = await self._rows("own_event", identity)
        return (found[0]["chain_no"], found[0]["seq"]) if found else None

    async def compared(self, tree: int, size: int) -> int:
        return int(await self._value("compared", tree, size) or 0)

    async def keep(
        self,
        tiles: Iterable[tuple[int, Tile]],
        seal: tuple[int, int, bytes],
        checkpoints: Sequence[Checkpoint],
    ) -> None:
        """Keeps what a seal made, in one transaction; doing it again changes nothing."""
        with _translated():
            connection = self._open()
            async with connection.transaction():
                rows = [(tree, tile.level, tile.n, tile.hashes, tile.root) for tree, tile in tiles]
                await connection.executemany(_QUERIES["add_tile"], rows)
                await connection.execute(_QUERIES["add_seal"], *seal)
                await connection.executemany(_QUERIES["add_checkpoint"], checkpoints)

    async def keep_tiles(self, tree: int, tiles: Iterable[Tile]) -> None:
        rows = [(tree, tile.level, tile.n, tile.hashes, tile.root) for tile in tiles]
        with _translated():
            await self._open().executemany(_QUERIES["add_tile"], rows)

    async def note_publication(self, target: str, size: int, at_us: int, receipt: bytes | None) -> None:
        with _translated():
            await self._open().execute(_QUERIES["add_publication"], target, size, at_us, receipt)

    def _open(self) -> asyncpg.Connection:
        if self._connection is None:
            raise TransientError("PostgreSQL is not connected")
        return self._connection

    async def _rows(self, query: str, *arguments: Any) -> list[Any]:
        with _translated():
            return list(await self._open().fetch(_QUERIES[query], *arguments))

    async def _value(self, query: str, *arguments: Any) -> Any:
        with _translated():
            return await self._open().fetchval(_QUERIES[query], *arguments)


def _read(kind: Any, body: bytes | None) -> Any:
    """A body of our own, None where it is none: the record is then compared with nothing, and differs."""
    try:
        return None if body is None else read_own(kind, body)
    except ValueError:
        return None


def _orders(body: bytes | None, place: EventPlace) -> bool:
    """Whether an own event orders the erasure of an event."""
    try:
        order = read_order(decode_body(body or b"").value or b"")
    except ValueError:
        return False
    return isinstance(order, Erasure) and any(named.place == place for named in order.events)


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except asyncpg.PostgresError as error:
        if (error.sqlstate or "").startswith(_WRONG_SETTINGS):
            raise ConfigurationError(
                f"PostgreSQL refused: {error}; are DATABASE_URL and its role (piperoll_sealer) right, and was "
                "`piperoll migrate` run?"
            ) from error
        raise TransientError(f"PostgreSQL cannot now: {error} ({error.sqlstate})") from error
    except (OSError, TimeoutError, asyncpg.InterfaceError) as error:
        raise TransientError(f"PostgreSQL does not answer: {error!r}; is DATABASE_URL right?") from error
