"""What the sealer holds in memory of its trees, and how a seal comes about from it: pure but for the clock.

`Book.seal` makes one seal: it extends the trees, lists every chain in a leaf of the seal log and signs the checkpoints.
Its memory is replaced only then; what is to be written where is in the `Work` that it returns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from schemas.seal import Seal, SealedChain, encode_seal
from schemas.tlog.checkpoint import Checkpoint
from schemas.tlog.merkle import leaf_hash
from services.writer.sealer import store
from services.writer.sealer.key import Keys
from services.writer.sealer.memory import ChainMemory, Memory
from services.writer.sealer.tree import Edge, Growth

SEAL_TREE = 0
SEAL_PATH = "seal"


class Gain(NamedTuple):
    """Records that one chain gained: leaves, their hashes, where to read on in the topic, how many were compared."""

    leaves: list[bytes]
    hashes: list[bytes]
    next_offset: int
    compared: int


@dataclass(slots=True)
class Published:
    """One tree's part of a seal: what is full, what is not, and the signed note."""

    tree: int
    path: str
    growth: Growth
    edge: Edge
    checkpoint: store.Checkpoint


@dataclass(slots=True)
class Work:
    """What a seal leaves to be written: the trees in the order of publication, the seal log last."""

    seal_no: int
    sealed_us: int
    leaf: bytes
    trees: list[Published] = field(default_factory=list)

    @property
    def note(self) -> bytes:
        return self.trees[-1].checkpoint.note


class Book:
    """Memory, edges and keys. `edges` has the edge of each chain that can grow; `seal_edge` that of the seal log."""

    def __init__(self, memory: Memory, keys: Keys, seal_edge: Edge, edges: dict[bytes, Edge]) -> None:
        self.memory = memory
        self._keys = keys
        self._seal_edge = seal_edge
        self.edges = edges

    def open_chain(self, chain_id: bytes) -> None:
        """A chain that begins: an empty tree."""
        self.edges[chain_id] = Edge()

    def seal(self, gains: Mapping[bytes, Gain], now_us: int) -> Work:
        """The next seal. The memory is that of afterwards when this returns; it is to be made durable at once."""
        number, memory = self._seal_edge.size, self.memory
        sealed_us = max(now_us, memory.sealed_us + 1)
        chains = dict(memory.chains)
        growths = {}
        for chain_id, gain in gains.items():
            chains[chain_id] = _extended(chains[chain_id], gain)
            growths[chain_id] = self.edges[chain_id].extend(gain.leaves, gain.hashes)
        leaf = _leaf(number, sealed_us, chains)
        work = Work(number, sealed_us, leaf)
        for chain_id, growth in growths.items():
            chain = chains[chain_id]
            work.trees.append(
                self._published(chain.tree, path_of(chain), growth, self.edges[chain_id], work, chain)
            )
        digest = leaf_hash(leaf)
        growth = self._seal_edge.extend([leaf], [digest])
        seals = memory.seals.copy()
        seals.append(digest)
        work.trees.append(self._published(SEAL_TREE, SEAL_PATH, growth, self._seal_edge, work, None))
        self.memory = replace(memory, seals=seals, note=work.note, sealed_us=sealed_us, chains=chains)
        return work

    def published_again(self) -> list[Published]:
        """Every tree that can grow as it was last signed, the seal log last: Ed25519 signs the same text the same way."""
        memory = self.memory
        work = Work(self._seal_edge.size - 1, memory.sealed_us, b"")
        chains = [memory.chains[chain_id] for chain_id in self.edges if memory.chains[chain_id].size]
        trees = [
            self._published(chain.tree, path_of(chain), Growth(), self.edges[chain.chain_id], work, chain)
            for chain in chains
        ]
        return [*trees, self._published(SEAL_TREE, SEAL_PATH, Growth(), self._seal_edge, work, None)]

    def _published(
        self, tree: int, path: str, growth: Growth, edge: Edge, work: Work, chain: ChainMemory | None
    ) -> Published:
        origin = f"{self.memory.origin}/{path}"
        root = edge.frontier().root()
        note = self._keys.sign(Checkpoint(origin, edge.size, root))
        compared = 0 if chain is None else chain.compared
        row = store.Checkpoint(tree, edge.size, root, note, work.sealed_us, work.seal_no, compared)
        return Published(tree, path, growth, edge, row)


def path_of(chain: ChainMemory) -> str:
    """Where a chain's tree is published, and the end of its origin. The chain id is in it: a topic that was made anew
    has another chain, and its tree is another one."""
    return f"{chain.topic}/{chain.partition}/{chain.chain_id.hex()[:16]}"


def describe(memory: Memory, keys: Keys) -> dict[str, object]:
    """The document log.json. `next_vkey` stands there while both keys sign."""
    following = keys.following if keys.overlap else None

    def entry(path: str) -> dict[str, object]:
        origin = f"{memory.origin}/{path}"
        said: dict[str, object] = {"origin": origin, "vkey": keys.current.renamed(origin).verifier.vkey()}
        if following is not None:
            said["next_vkey"] = following.renamed(origin).verifier.vkey()
        return said | {"path": path}

    return {
        "format": "piperoll-log/v1",
        "origin_base": memory.origin,
        "seal": entry(SEAL_PATH),
        "chains": [
            {
                "chain_id": chain.chain_id.hex(),
                "topic": chain.topic,
                "topic_id": chain.topic_id.hex(),
                "partition": chain.partition,
                **entry(path_of(chain)),
            }
            for chain in _sorted(memory.chains)
        ],
    }


def _extended(chain: ChainMemory, gain: Gain) -> ChainMemory:
    assert chain.frontier is not None
    frontier = chain.frontier.copy()
    frontier.extend(gain.hashes)
    return replace(
        chain,
        size=frontier.size,
        root=frontier.root(),
        frontier=frontier,
        last_hash=gain.hashes[-1],
        next_offset=gain.next_offset,
        compared=chain.compared + gain.compared,
    )


def last_leaf(memory: Memory) -> bytes:
    """The leaf of the last seal: what the memory says is what it lists."""
    return _leaf(memory.seals.size - 1, memory.sealed_us, memory.chains)


def _leaf(number: int, sealed_us: int, chains: Mapping[bytes, ChainMemory]) -> bytes:
    return encode_seal(Seal(number, sealed_us, tuple(map(_sealed, _sorted(chains)))))


def _sealed(chain: ChainMemory) -> SealedChain:
    return SealedChain(chain.chain_id, chain.size, chain.root, max(chain.next_offset, 0))


def _sorted(chains: Mapping[bytes, ChainMemory]) -> Sequence[ChainMemory]:
    return [chains[chain_id] for chain_id in sorted(chains)]
