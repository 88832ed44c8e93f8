"""How a sealer begins: from what it remembers and what is published to trees that can grow.

The newest of memory, directory, topic and database is where it goes on from, if it is signed by our key and the records
still give its root. What a crash left unpublished is made anew from the records.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise

from schemas.record import RECORD_BYTES
from schemas.seal import decode_seal
from schemas.tlog.checkpoint import Checkpoint
from schemas.tlog.merkle import Frontier, leaf_hashes
from services.common.errors import ConfigurationError, FatalError
from services.common.logging import get_logger
from services.writer.sealer import alerts
from services.writer.sealer.book import SEAL_PATH, SEAL_TREE, Book, Work, last_leaf, path_of
from services.writer.sealer.memory import ChainMemory, Memory, read_memory
from services.writer.sealer.outlet import MEMORY, Outlet
from services.writer.sealer.settings import SealerSettings
from services.writer.sealer.store import READ_AT_ONCE, Head, Store
from services.writer.sealer.tree import Edge

log = get_logger(__name__)
_SEALS_AT_ONCE = 1024
_NEW_LOG = (
    "To go on nevertheless, begin a new log: `SELECT audit.set_log_aside()` as the database's owner, another SEALER_ORIGIN, an "
    "empty SEALER_DIR; the old checkpoints stay evidence"
)
Leaves = Callable[[int, int], Awaitable[list[bytes]]]
"""Leaves `first` to before `end` of a tree, as the database has them; fewer where they are gone."""


async def open_book(settings: SealerSettings, store: Store, outlet: Outlet) -> Book:
    """The trees as they were last signed, everything of them published. Raises FatalError where what was signed under
    our name cannot be continued, and what the store and the outlet raise."""
    memory = await asyncio.to_thread(read_memory, settings.folder / MEMORY, settings.origin)
    memory = await _newest(memory, settings.origin, store, outlet)
    seal_edge = await _seal_edge(memory, store, outlet)
    edges = {}
    for chain in memory.chains.values():
        if chain.frontier is not None:
            edge = await _chain_edge(chain, memory.origin, store, outlet)
            if edge is None:
                chain.frontier = None
                await outlet.say([alerts.lost(chain, "they do not give the signed root")])
            else:
                edges[chain.chain_id] = edge
    book = Book(memory, outlet.keys, seal_edge, edges)
    await _publish_again(book, store, outlet)
    log.info(
        "opened", seals=memory.seals.size, chains=len(memory.chains), frozen=len(memory.chains) - len(edges)
    )
    return book


async def _newest(memory: Memory | None, origin: str, store: Store, outlet: Outlet) -> Memory:
    """The memory, or what is published where that is newer."""
    name = f"{origin}/{SEAL_PATH}"
    notes = {
        "the directory": outlet.directory.checkpoint(SEAL_PATH),
        "the topic": await asyncio.to_thread(outlet.last_sent),
        "the database": await store.newest_note(),
    }
    found: dict[str, Checkpoint] = {}
    for place, note in notes.items():
        try:
            if note is not None:
                found[place] = outlet.keys.open(name, note)
        except ValueError as error:  # not ours: somebody else's note proves nothing, and stops nothing
            log.warning("foreign_checkpoint", place=place, error=str(error))
    if memory is not None and memory.note:
        found["the memory"] = _remembered(memory.note, name, outlet)
    elif not found and _is_of(await store.newest_note(), name):
        raise ConfigurationError(
            f"the database holds seals of {name} that are not signed with this key: SEALER_KEY, or the file `key` in "
            "SEALER_DIR, is another than before. Put the key back, or change it by `piperoll seal rotate`"
        )
    elif not found and notes["the database"] is not None:
        raise ConfigurationError(
            "the database is sealed already under another SEALER_ORIGIN: set that back, or set the old log aside by `SELECT "
            "audit.set_log_aside()` as the database's owner; the old checkpoints stay evidence"
        )
    _refuse_contradictions(found)
    if not found:
        return memory or Memory(origin)
    place, newest = max(found.items(), key=lambda item: item[1].size)
    if memory is not None and newest.size <= memory.seals.size:
        return memory
    log.warning("memory_behind", place=place, size=newest.size, remembered=memory.seals.size if memory else 0)
    return await _adopt(newest, origin, store, outlet)


def _is_of(note: bytes | None, origin: str) -> bool:
    return note is not None and note.startswith(f"{origin}\n".encode())


def _remembered(note: bytes, name: str, outlet: Outlet) -> Checkpoint:
    """The checkpoint in the memory. Raises ConfigurationError where none of the keys has signed it: then verifiers could
    not tell either that what comes now continues it."""
    try:
        return outlet.keys.open(name, note)
    except ValueError as error:
        raise ConfigurationError(
            f"the last checkpoint in SEALER_DIR is not signed with this key ({error}). Put the key back; a key is changed "
            "by `piperoll seal rotate`: the old one signs until the change is sealed, then both do, then the new one alone"
        ) from error


def _refuse_contradictions(found: dict[str, Checkpoint]) -> None:
    """Two checkpoints of one size with two roots: somebody has signed two histories."""
    ordered = sorted(found.items(), key=lambda item: item[1].size)
    for (one, first), (other, second) in pairwise(ordered):
        if first.size == second.size and first.root != second.root:
            raise FatalError(
                f"{one} and {other} hold checkpoints of {first.size} seals with different roots, both signed with our key: "
                "two sealers have signed two histories. Keep both notes as evidence, find out which is true "
                f"(`piperoll verify --checkpoints …`). {_NEW_LOG}, and a new key"
            )


async def _adopt(newest: Checkpoint, origin: str, store: Store, outlet: Outlet) -> Memory:
    """A memory made anew from a signed checkpoint: from the seals that it covers, and the records that these name."""
    frontier, last = Frontier(), b""
    async for leaves in _in_steps(store.seal_leaves_only, 0, newest.size, _SEALS_AT_ONCE):
        frontier.extend(leaf_hashes(leaves))
        last = leaves[-1]
    if frontier.size != newest.size or frontier.root() != newest.root:
        raise FatalError(
            f"a checkpoint of {newest.size} seals is signed with our key, and the database has other seals or fewer "
            f"({frontier.size}): it was set back or changed. `piperoll verify` says what is missing. {_NEW_LOG}"
        )
    seal = decode_seal(last)
    heads = {head.chain_id: head for head in await store.heads()}
    memory = Memory(origin, frontier, b"", seal.time_us)
    for sealed in seal.chains:
        head = heads.get(sealed.chain_id)
        chain = ChainMemory(sealed.chain_id, *(_place(head)), sealed.size, sealed.root, None)
        chain.next_offset = sealed.next_offset if sealed.size > 1 else -1
        if head is not None:
            await _read_again(chain, store)
        memory.chains[sealed.chain_id] = chain
    note = outlet.sign(f"{origin}/{SEAL_PATH}", frontier.size, newest.root)
    memory.note = note
    return memory


def _place(head: Head | None) -> tuple[int, str, bytes, int]:
    return (0, "unknown", bytes(16), 0) if head is None else (head.chain_no, *head[2:5])


async def _read_again(chain: ChainMemory, store: Store) -> None:
    """Gives a chain its frontier back, if the records still give the signed root."""
    frontier, last = Frontier(), bytes(32)
    async for leaves in _in_steps(_chain_leaves(store, chain.tree), 0, chain.size, READ_AT_ONCE):
        hashes = await asyncio.to_thread(leaf_hashes, leaves)
        frontier.extend(hashes)
        last = hashes[-1]
    if frontier.size == chain.size and frontier.root() == chain.root:
        chain.frontier, chain.last_hash = frontier, last
        chain.compared = await store.compared(chain.tree, chain.size)


async def _chain_edge(chain: ChainMemory, origin: str, store: Store, outlet: Outlet) -> Edge | None:
    """The edge of a chain's tree, after what was not published yet is. None where the records do not give the root."""
    assert chain.frontier is not None
    path = path_of(chain)
    edge = await _published_edge(f"{origin}/{path}", path, outlet, lambda size: store.edge(chain.tree, size))
    leaves = _chain_leaves(store, chain.tree)
    edge = await _grown(edge, chain.tree, path, chain.size, chain.root, leaves, store, outlet)
    return edge if edge.root_or_none() == chain.root else None


async def _seal_edge(memory: Memory, store: Store, outlet: Outlet) -> Edge:
    """The edge of the seal log. Its last leaf may stand in the memory alone."""
    size = memory.seals.size

    async def leaves(first: int, end: int) -> list[bytes]:
        found = await store.seal_leaves_only(first, min(end, size - 1))
        return [*found, last_leaf(memory)] if end == size and first + len(found) == size - 1 else found

    edge = await _published_edge(f"{memory.origin}/{SEAL_PATH}", SEAL_PATH, outlet, store.seal_edge)
    edge = await _grown(edge, SEAL_TREE, SEAL_PATH, size, memory.seals.root(), leaves, store, outlet)
    if edge.root_or_none() != memory.seals.root():
        raise FatalError(
            f"the database does not hold the {size} seals that were signed ({edge.size} found): it was set back or changed. "
            f"`piperoll verify` says what is missing. {_NEW_LOG}"
        )
    return edge


async def _published_edge(
    origin: str, path: str, outlet: Outlet, read: Callable[[int], Awaitable[Edge]]
) -> Edge:
    """The edge at the size up to which everything published is known to be on disk: from there on it is written again. The
    empty tree where nothing is known."""
    note = outlet.directory.checkpoint(path)
    if note is None:
        return Edge()
    try:
        published = outlet.keys.open(origin, note)
    except ValueError as error:
        log.warning("foreign_checkpoint", place=path, error=str(error))
        return Edge()
    size = min(published.size, outlet.directory.synced().get(path, 0))
    edge = await read(size) if size else Edge()
    return edge if edge.root_or_none() is not None else Edge()


async def _grown(
    edge: Edge, tree: int, path: str, size: int, root: bytes, leaves: Leaves, store: Store, outlet: Outlet
) -> Edge:
    """The edge grown to `size`; from nothing, where it does not come to `root` (memory and directory are of different
    days, or the database's tiles are not what they were)."""
    if 0 < edge.size <= size:
        await _grow(edge, tree, path, size, leaves, store, outlet)
    if not edge.size or edge.root_or_none() != root:
        edge = Edge()
        await _grow(edge, tree, path, size, leaves, store, outlet)
    return edge


async def _grow(
    edge: Edge, tree: int, path: str, size: int, leaves: Leaves, store: Store, outlet: Outlet
) -> None:
    """Extends a tree to `size`, or as far as there are leaves; writes what is full as it goes."""
    step = _SEALS_AT_ONCE if tree == SEAL_TREE else READ_AT_ONCE
    async for found in _in_steps(leaves, edge.size, size, step):
        growth = edge.extend(found, await asyncio.to_thread(leaf_hashes, found))
        await asyncio.to_thread(outlet.publish_tiles, path, growth)
        await store.keep_tiles(tree, growth.tiles)


async def _publish_again(book: Book, store: Store, outlet: Outlet) -> None:
    """The last seal once more, everywhere: a crash may have come between any two of its steps, and each of them done
    again changes nothing."""
    memory = book.memory
    if memory.seals.size:
        last = Work(memory.seals.size - 1, memory.sealed_us, last_leaf(memory), book.published_again())
        await outlet.take(memory, last)
        await outlet.finish(store)


def _chain_leaves(store: Store, tree: int) -> Leaves:
    async def leaves(first: int, end: int) -> list[bytes]:
        found = await store.leaves(tree, first, end)
        return [found[at : at + RECORD_BYTES] for at in range(0, len(found), RECORD_BYTES)]

    return leaves


async def _in_steps(leaves: Leaves, first: int, end: int, step: int) -> AsyncIterator[list[bytes]]:
    """Leaves in lists of at most `step`; ends early where they are gone."""
    while first < end:
        found = await leaves(first, min(first + step, end))
        if not found:
            return
        yield found
        first += len(found)
