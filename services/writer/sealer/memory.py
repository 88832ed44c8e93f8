"""What the sealer remembers of what it signed, in a file outside PostgreSQL: whoever owns the database cannot set it back.

The file is replaced whole and synced before anything that was signed leaves the process. A crash after that leaves a
signature that is known and was perhaps not published: the next round publishes it, and signs nothing that contradicts it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.tlog.merkle import EMPTY_ROOT, Frontier
from services.common.errors import ConfigurationError, FatalError

FORMAT = "piperoll-sealer/v1"


@dataclass(slots=True)
class ChainMemory:
    """One chain as it was last signed. `tree` is its number in the database; `last_hash` the record hash of the last
    sealed record; `next_offset` where the topic is to be read on for the second look (-1: no
    record with an offset is sealed yet); `compared` how many of the sealed records were compared with Kafka. `frontier` is None where the database does not have the sealed records any more:
    such a chain stands in every further seal as it was, and is never extended."""

    chain_id: bytes
    tree: int
    topic: str
    topic_id: bytes
    partition: int
    size: int = 0
    root: bytes = EMPTY_ROOT
    frontier: Frontier | None = field(default_factory=Frontier)
    last_hash: bytes = bytes(32)
    next_offset: int = -1
    compared: int = 0

    def as_json(self) -> dict[str, Any]:
        return {
            "chain_id": self.chain_id.hex(),
            "tree": self.tree,
            "topic": self.topic,
            "topic_id": self.topic_id.hex(),
            "partition": self.partition,
            "size": self.size,
            "root": self.root.hex(),
            "frontier": None if self.frontier is None else self.frontier.to_json(),
            "last_hash": self.last_hash.hex(),
            "next_offset": self.next_offset,
            "compared": self.compared,
        }


@dataclass(slots=True)
class Memory:
    """Everything that was signed. `seals` is the tree of the seal log; `note` its last signed checkpoint, empty where
    nothing was signed yet; `sealed_us` when."""

    origin: str
    seals: Frontier = field(default_factory=Frontier)
    note: bytes = b""
    sealed_us: int = 0
    chains: dict[bytes, ChainMemory] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "origin": self.origin,
            "seals": {"size": self.seals.size, "frontier": self.seals.to_json()},
            "note": self.note.decode(),
            "sealed_us": self.sealed_us,
            "chains": [self.chains[chain_id].as_json() for chain_id in sorted(self.chains)],
        }


def read_memory(path: Path, origin: str) -> Memory | None:
    """The memory in a file, None where there is none. Raises ConfigurationError where it is of another origin, and
    FatalError where it cannot be read: signing without it could contradict what was signed."""
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise FatalError(
            f"{path} cannot be read ({error}): without it the sealer could contradict what it signed. Restore it from a "
            "backup, or move it away: the sealer then starts from what is published, which must be consistent"
        ) from error
    if document.get("format") != FORMAT:
        raise FatalError(f"{path} is no memory of this version ({document.get('format')!r}, not {FORMAT!r})")
    if document["origin"] != origin:
        raise ConfigurationError(
            f"SEALER_ORIGIN is {origin!r}, and {path} is the memory of {document['origin']!r}: set it back, or give the "
            "other log a SEALER_DIR of its own"
        )
    chains = map(_chain, document["chains"])
    return Memory(
        origin,
        Frontier.from_json(document["seals"]["size"], document["seals"]["frontier"]),
        document["note"].encode(),
        document["sealed_us"],
        {chain.chain_id: chain for chain in chains},
    )


def write_memory(path: Path, memory: Memory) -> None:
    """Durable when it returns, whole or not at all. Raises OSError."""
    write_durably(path, json.dumps(memory.as_json(), separators=(",", ":")).encode())


def write_durably(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Replaces a file: afterwards it has the new content, or the old one, also after a power failure."""
    draft = path.with_name(f".{path.name}.new")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(file, view) :]
        os.fsync(file)
    finally:
        os.close(file)
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Holds the folder's lock: two sealers with one memory would sign two histories. Raises BlockingIOError where
    another process has it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _chain(fields: dict[str, Any]) -> ChainMemory:
    return ChainMemory(
        bytes.fromhex(fields["chain_id"]),
        fields["tree"],
        fields["topic"],
        bytes.fromhex(fields["topic_id"]),
        fields["partition"],
        fields["size"],
        bytes.fromhex(fields["root"]),
        None if fields["frontier"] is None else Frontier.from_json(fields["size"], fields["frontier"]),
        bytes.fromhex(fields["last_hash"]),
        fields["next_offset"],
        fields["compared"],
    )
