"""Where a seal goes: memory, directory, database, topic, then the targets outside; and where alerts go.

Everything but the targets is in order and done again until it is done: the next seal waits for it. Targets outside
(S3, witness, timestamp) work beside it, always on the newest checkpoint of the seal log, and hold nothing up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol

from kafka import KafkaProducer
from kafka.errors import KafkaError

from schemas.tlog.checkpoint import Checkpoint
from services.common.announcer import Announcer
from services.common.checkpoints import last_checkpoint
from services.common.errors import TransientError
from services.common.kafka import client_options
from services.common.logging import get_logger
from services.common.settings import KafkaSettings
from services.writer.alert import Alert
from services.writer.sealer.book import SEAL_PATH, Published, Work, describe, path_of
from services.writer.sealer.directory import Directory
from services.writer.sealer.key import Keys
from services.writer.sealer.key_history import note_keys
from services.writer.sealer.memory import Memory, write_memory
from services.writer.sealer.metrics import SealerMetrics
from services.writer.sealer.settings import SealerSettings
from services.writer.sealer.store import Store
from services.writer.sealer.targets.courier import Receipt
from services.writer.sealer.tree import Bundle, Growth

log = get_logger(__name__)
MEMORY = "memory.json"
_SEND_TIMEOUT_S = 30
BOOTSTRAP_MS = 5000
SYNC_S = 60.0


class Target(Protocol):
    """Somewhere outside that takes checkpoints of the seal log."""

    name: str

    def offer(self, size: int, note: bytes) -> None:
        """The newest checkpoint; does not block, and may replace one that was not taken yet."""

    async def close(self) -> None:
        """Gives up what is under way."""


class Outlet:
    """One for the process. `keys` sign; their public halves are told in log.json and seal/keys.json."""

    def __init__(
        self,
        kafka: KafkaSettings,
        settings: SealerSettings,
        keys: Keys,
        metrics: SealerMetrics,
        targets: Sequence[Target] = (),
    ) -> None:
        self._kafka = kafka
        self._memory_file = settings.folder / MEMORY
        self._memory_origin = settings.origin
        self.keys = keys
        self.directory = Directory(settings.publish_to)
        self._metrics = metrics
        self.targets = list(targets)
        self._work: Work | None = None
        self._syncing: asyncio.Task[None] | None = None
        self._next_sync = time.monotonic() + SYNC_S
        self._described: tuple[set[bytes], bool] | None = None
        self._producer: KafkaProducer | None = None
        self._announcer: Announcer | None = None
        self._said: set[str] = set()
        self._saying = asyncio.Lock()
        self._receipts: list[Receipt] = []

    async def take(self, memory: Memory, work: Work) -> None:
        """Makes the memory durable: the seal counts as signed from here on. Raises OSError; then nothing was signed
        that anybody knows of, and the same work is to be offered again."""
        self._work = work
        self._memory = memory
        self._remembered = False
        await self._remember()

    async def finish(self, store: Store) -> None:
        """Brings a seal that was taken everywhere it is still missing. Raises OSError or TransientError; call again."""
        await self._keep_receipts(store)
        work = self._work
        if work is None:
            return
        await self._remember()
        await asyncio.to_thread(self._publish, work)
        tiles = [(tree.tree, tile) for tree in work.trees for tile in tree.growth.tiles]
        await store.keep(
            tiles, (work.seal_no, work.sealed_us, work.leaf), [tree.checkpoint for tree in work.trees]
        )
        await asyncio.to_thread(self._send, work)
        self._work = None
        for name in ("directory", "topic"):
            self._metrics.published_at.labels(name).set(work.sealed_us / 1_000_000)
        self.offer(work.trees[-1].checkpoint.size, work.note)
        self._sync_now_and_then()
        log.info("sealed", seal=work.seal_no, chains=len(work.trees) - 1)

    def _sync_now_and_then(self) -> None:
        """Has everything published so far brought to the disks, in the background."""
        if time.monotonic() < self._next_sync or not (self._syncing is None or self._syncing.done()):
            return
        self._next_sync = time.monotonic() + SYNC_S
        sizes = {path_of(chain): chain.size for chain in self._memory.chains.values()}
        sizes[SEAL_PATH] = self._memory.seals.size
        self._syncing = asyncio.create_task(asyncio.to_thread(self._sync, sizes))

    def _sync(self, sizes: dict[str, int]) -> None:
        try:
            self.directory.sync(sizes)
        except OSError as error:  # the next start writes more again, nothing else
            log.warning("not_synced", error=str(error))

    def offer(self, size: int, note: bytes) -> None:
        """Gives a published checkpoint of the seal log to the targets outside. Does not block."""
        for target in self.targets:
            target.offer(size, note)

    def keep(self, receipt: Receipt) -> None:
        """Takes what a target gave back; the next round keeps it in the database. A crash before that loses no
        evidence: the target has the checkpoint, and cosignatures and stamps are published."""
        self._receipts.append(receipt)

    async def _keep_receipts(self, store: Store) -> None:
        while self._receipts:
            await store.note_publication(*self._receipts[0])
            del self._receipts[0]

    def sign(self, origin: str, size: int, root: bytes) -> bytes:
        """A checkpoint's note."""
        return self.keys.sign(Checkpoint(origin, size, root))

    def last_sent(self) -> bytes | None:
        """The newest checkpoint of the seal log on the topic; None where there is none, or Kafka is away: then what
        else is known has to do."""
        try:
            return last_checkpoint(self._kafka, f"{self._memory_origin}/seal")
        except TransientError as error:
            log.warning("topic_not_read", error=str(error))
            return None

    async def _remember(self) -> None:
        if not self._remembered:
            await asyncio.to_thread(write_memory, self._memory_file, self._memory)
            self._remembered = True

    def _publish(self, work: Work) -> None:
        """Tiles and entries first, then the chains' checkpoints, the seal log's last: it speaks of all of them."""
        described = (set(self._memory.chains), self.keys.overlap)
        if self._described != described:
            self.directory.describe(describe(self._memory, self.keys))
            self._described = described
        for tree in work.trees:
            self.publish_tiles(tree.path, tree.growth)
            self._publish_edge(tree)
        self._note_keys(work.trees[-1])
        for tree in work.trees:
            self.directory.replace_checkpoint(tree.path, tree.checkpoint.note)
            self.directory.drop_unfinished(tree.path, tree.growth.tiles, tree.growth.bundles)

    def publish_tiles(self, path: str, growth: Growth) -> None:
        self.directory.add(path, growth.tiles, growth.bundles)

    def _note_keys(self, seal: Published) -> None:
        """Before the checkpoint that they sign; what is published once more tells nothing new of them."""
        origin = f"{self._memory_origin}/{seal.path}"
        note = self.directory.checkpoint(seal.path)
        if note is None or not note.startswith(f"{origin}\n{seal.edge.size}\n".encode()):
            vkeys = [key.renamed(origin).verifier.vkey() for key in self.keys.signing]
            note_keys(self.directory.folder / seal.path, vkeys, seal.edge.size)

    def _publish_edge(self, tree: Published) -> None:
        edge = tree.edge
        bundles = [Bundle(edge.size // 256, edge.entries)] if edge.entries else []
        self.directory.add(tree.path, edge.unfinished(), bundles)

    def _send(self, work: Work) -> None:
        """The seal log's checkpoint to the topic."""
        try:
            self._produce(self._kafka.topics.checkpoints, work.note, f"{self._memory.origin}/seal".encode())
        except KafkaError as error:
            # The directory and the database have it: a broker that is away must not keep the next seal waiting.
            self._metrics.failures.labels("topic").inc()
            log.warning("checkpoint_not_sent", error=repr(error))

    async def record(self, event: bytes) -> bool:
        """Sends an event of our own to audit.system, and tells whether that has it."""
        try:
            await asyncio.to_thread(self._produce, self._kafka.topics.system, event)
        except KafkaError as error:
            self._metrics.failures.labels("topic").inc()
            log.warning("own_event_not_sent", error=repr(error))
            return False
        return True

    def _produce(self, topic: str, value: bytes, key: bytes | None = None) -> None:
        if self._producer is None:
            self._producer = KafkaProducer(
                **client_options(self._kafka, "piperoll-sealer"),
                acks="all",
                enable_idempotence=True,
                bootstrap_timeout_ms=BOOTSTRAP_MS,
            )
        self._producer.send(topic, key=key, value=value).get(timeout=_SEND_TIMEOUT_S)

    async def say(self, said: Sequence[Alert]) -> None:
        """Alerts, each once. Where Kafka cannot take them they are logged now and said again in the next round."""
        async with self._saying:
            await self._say(said)

    async def _say(self, said: Sequence[Alert]) -> None:
        new = [alert for alert in said if alert.id not in self._said]
        if not new:
            return
        try:
            await asyncio.to_thread(self._announce, new)
        except TransientError as error:
            for alert in new:
                log.critical(alert.name, alert=alert.id, text=alert.text, unsent=str(error))
        else:
            self._said.update(alert.id for alert in new)

    def _announce(self, new: Sequence[Alert]) -> None:
        if self._announcer is None:
            self._announcer = Announcer(self._kafka, self._metrics.alerts, source="piperoll/sealer")
        self._announcer.say(new)

    async def close(self) -> None:
        if self._syncing is not None:
            await self._syncing
        for target in self.targets:
            await target.close()
        for client in (self._producer, self._announcer):
            if client is not None:
                await asyncio.to_thread(client.close)
