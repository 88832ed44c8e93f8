"""A sealed log made through the schemas alone: chains, seals, checkpoints, proofs of records, the published folder."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import asyncpg

from schemas.proof_file import Opened, ProofFile
from schemas.seal import Seal, SealedChain, decode_seal, encode_seal
from schemas.tlog.checkpoint import Checkpoint, sign_checkpoint
from schemas.tlog.cosignature import CosignatureSigner
from schemas.tlog.merkle import Frontier, inclusion_proof, leaf_hash, tile_root
from schemas.tlog.note import Signer
from schemas.tlog.proof import TlogProof
from schemas.tlog.tiles import encode_bundle, entries_path, tree_tiles
from tests.chain_rows import START_US, ChainRows

BASE = "piperoll.example/test"
SEED = bytes([42]) * 32
WITNESSES = [CosignatureSigner(f"witness.example.com/w{n}", bytes([n]) * 32) for n in (1, 2)]


class Sealed(NamedTuple):
    """A row of audit.checkpoint; tree 0 is the seal log."""

    tree: int
    size: int
    root: bytes
    note: bytes
    sealed_us: int
    seal_no: int


class SealedLog:
    """Chains that are sealed as they grow."""

    def __init__(self, *chains: ChainRows, witnesses=()) -> None:
        self.chains = list(chains)
        self.witnesses = list(witnesses)
        self.seals: list[bytes] = []
        self.checkpoints: list[Sealed] = []

    def signer(self, origin: str) -> Signer:
        return Signer(origin, SEED)

    @property
    def seal_origin(self) -> str:
        return f"{BASE}/seal"

    def origin(self, chain: ChainRows) -> str:
        return f"{BASE}/{chain.topic}/{chain.partition}/{chain.chain_id.hex()[:16]}"

    def policy(self, quorum: str = "none") -> bytes:
        lines = [f"log {self.signer(self.seal_origin).verifier.vkey()}"]
        lines += [f"witness W{n} {key.verifier.vkey()}" for n, key in enumerate(WITNESSES, 1)]
        lines += ["group both all W1 W2", f"quorum {quorum}", ""]
        return "\n".join(lines).encode()

    def seal(self) -> None:
        """One seal of all chains as they are."""
        number, time_us = len(self.seals), START_US + 10_000_000 * len(self.seals)
        chains = []
        for chain in self.chains:
            root = _root([row.record_hash for row in chain.rows])
            if not any(
                (item.tree, item.size) == (chain.chain_no, len(chain.rows)) for item in self.checkpoints
            ):
                self._sign(chain.chain_no, self.origin(chain), len(chain.rows), root, time_us)
            chains.append(SealedChain(chain.chain_id, len(chain.rows), root, chain.next_offset))
        self.seals.append(encode_seal(Seal(number, time_us, tuple(sorted(chains)))))
        root = _root([leaf_hash(leaf) for leaf in self.seals])
        self._sign(0, self.seal_origin, len(self.seals), root, time_us)

    def _sign(self, tree: int, origin: str, size: int, root: bytes, time_us: int) -> None:
        made = Checkpoint(origin, size, root)
        note = sign_checkpoint(made, [self.signer(origin)])
        if tree == 0:
            cosigned = (key.cosign(made.text(), time_us // 1_000_000) for key in self.witnesses)
            note += "".join(item.line() for item in cosigned).encode()
        number = size - 1 if tree == 0 else len(self.seals)
        self.checkpoints.append(Sealed(tree, size, root, note, time_us, number))

    def proof(self, chain: ChainRows, seq: int, *, payload: bool = True) -> ProofFile:
        """Against the first seal that covers the record, and the newest checkpoint of the seal log."""
        sealed = next(item for item in self.checkpoints if item.tree == chain.chain_no and item.size > seq)
        newest = [item for item in self.checkpoints if item.tree == 0][-1]
        content = chain.contents[seq]
        hashes = inclusion_proof(seq, sealed.size, _subtrees([row.record_hash for row in chain.rows]))
        in_seals = inclusion_proof(
            sealed.seal_no, newest.size, _subtrees([leaf_hash(leaf) for leaf in self.seals])
        )
        body = content.body if payload else None
        said = content.enrich if payload else None
        return ProofFile(
            chain.rows[seq].leaf,
            None if body is None else Opened(content.salt, body),
            None if said is None else Opened(content.enrich_salt, said),
            TlogProof(seq, tuple(hashes), sealed.note),
            self.seals[sealed.seal_no],
            TlogProof(sealed.seal_no, tuple(in_seals), newest.note),
        )

    def publish(self, folder: Path) -> None:
        """The newest checkpoints with their tiles and entries, as design and tlog-tiles say."""
        for chain in self.chains:
            place = folder / chain.topic / str(chain.partition) / chain.chain_id.hex()[:16]
            self._publish(place, chain.chain_no, [row.leaf for row in chain.rows])
        self._publish(folder / "seal", 0, self.seals)

    def _publish(self, folder: Path, tree: int, entries: list[bytes]) -> None:
        newest = [item for item in self.checkpoints if item.tree == tree][-1]
        assert newest.size == len(entries)
        publish_tree(folder, entries, newest.note)


def publish_tree(folder: Path, entries: list[bytes], note: bytes) -> None:
    """A checkpoint, the tiles and the entry bundles of a tree."""
    levels = [[leaf_hash(entry) for entry in entries]]
    while len(levels[-1]) >= 256:
        below = levels[-1]
        levels.append(
            [tile_root(b"".join(below[at : at + 256])) for at in range(0, len(below) // 256 * 256, 256)]
        )
    for tile in tree_tiles(len(entries)):
        first = tile.n * 256
        _write(folder / tile.path(), b"".join(levels[tile.level][first : first + tile.width]))
        if tile.level == 0:
            bundle = encode_bundle(entries[first : first + tile.width])
            _write(folder / entries_path(tile.n, tile.width), bundle)
    _write(folder / "checkpoint", note)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _root(leaves: list[bytes]) -> bytes:
    frontier = Frontier()
    frontier.extend(leaves)
    return frontier.root()


def _subtrees(leaves: list[bytes]):
    return lambda level, index: _root(leaves[index << level : (index + 1) << level])


def full_tiles(tree: int, leaves: list[bytes]) -> list[tuple[int, int, int, bytes, bytes]]:
    """Rows of audit.tile."""
    rows, level = [], 0
    while len(leaves) >= 256:
        tiles = [b"".join(leaves[at : at + 256]) for at in range(0, len(leaves) // 256 * 256, 256)]
        roots = [tile_root(tile) for tile in tiles]
        rows += [
            (tree, level, n, tile, root) for n, (tile, root) in enumerate(zip(tiles, roots, strict=True))
        ]
        leaves, level = roots, level + 1
    return rows


async def store_seals(dsn: str, log: SealedLog) -> None:
    """What a sealer would have put beside the chains; `dsn` is the sealer's or the superuser's."""
    tiles = [full_tiles(chain.chain_no, [row.record_hash for row in chain.rows]) for chain in log.chains]
    tiles.append(full_tiles(0, [leaf_hash(leaf) for leaf in log.seals]))
    connection = await asyncpg.connect(dsn)
    try:
        for table, rows in (
            ("tile", [row for of_tree in tiles for row in of_tree]),
            ("seal", [(n, decode_seal(leaf).time_us, leaf) for n, leaf in enumerate(log.seals)]),
            ("checkpoint", [(*item, item.size) for item in log.checkpoints]),
        ):
            await connection.copy_records_to_table(table, schema_name="audit", records=rows)
    finally:
        await connection.close()
