"""The sealer's rounds: look at the heads, compare what is new with Kafka, seal it, publish the seal.

What is durable when: the memory file has a seal before anything that was signed leaves the process; tiles and entries
are durable before the checkpoints that need them; PostgreSQL and the topic come after. A crash anywhere leaves a memory
that is the newest: at the start, what it has and the directory or the database lack is made anew from the records.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from kafka import TopicPartition

from services.common.clock import Clock, system_clock
from services.common.errors import TransientError
from services.common.logging import get_logger
from services.common.settings import KafkaSettings
from services.writer.alert import Alert
from services.writer.heads import Head as SaidHead
from services.writer.sealer import alerts
from services.writer.sealer.book import Book, Gain
from services.writer.sealer.key_change import KeyChange
from services.writer.sealer.look import Look
from services.writer.sealer.memory import ChainMemory, only_one
from services.writer.sealer.metrics import SealerMetrics
from services.writer.sealer.news import Linked, gain, link
from services.writer.sealer.opening import open_book
from services.writer.sealer.outlet import Outlet
from services.writer.sealer.settings import SealerSettings
from services.writer.sealer.source import Reading, Source
from services.writer.sealer.store import READ_AT_ONCE, Head, Store
from services.writer.sealer.vouch import Vouched, Voucher

log = get_logger(__name__)
LOOK_SECONDS = 5.0
_LEAD_WAIT_S = 1.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 10.0
Result = TypeVar("Result")
Said = Mapping[TopicPartition, Sequence[SaidHead]]


@dataclass(slots=True)
class News:
    """Records of one chain that are not sealed yet."""

    chain: ChainMemory
    linked: Linked
    reading: Reading
    vouched: Vouched


class Sealer:
    """Runs once, by `run`."""

    def __init__(
        self,
        kafka: KafkaSettings,
        settings: SealerSettings,
        store: Store,
        outlet: Outlet,
        metrics: SealerMetrics,
        clock: Clock = system_clock,
        connect: Callable[[KafkaSettings], Source] = Source,
    ) -> None:
        self._kafka = kafka
        self._connect = connect
        self._settings = settings
        self._store = store
        self._outlet = outlet
        self._metrics = metrics
        self._clock = clock
        self._key_change = KeyChange(outlet.keys, settings.origin, clock)
        self._thread = ThreadPoolExecutor(1, "kafka")
        self._source: Source | None = None
        self._book: Book
        self._voucher = Voucher(store)
        self._contradicted_since: dict[bytes, float] = {}
        self._away = ""
        self._held_since: dict[bytes, float] = {}
        self._refused: set[bytes] = set()
        self._behind = False
        self._trouble: str | None = "starting"
        self._turned = time.monotonic()

    def not_ready(self) -> str | None:
        """What keeps it from sealing, None if nothing does. One that waits for another's end is ready."""
        return self._trouble

    def not_alive(self) -> str | None:
        """Whether the rounds have stopped."""
        still = time.monotonic() - self._turned
        return f"no round for {still:.0f} s" if still > 300 + self._settings.interval_s else None

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set. Raises FatalError where signing could contradict what was signed."""
        self._stop = stop
        while not stop.is_set():
            try:
                with only_one(self._settings.folder):
                    await self._lead()
            except BlockingIOError:
                self._stand_by("another sealer of this SEALER_DIR leads")
                await self._wait(_LEAD_WAIT_S)
        await self._close()

    def _stand_by(self, why: str) -> None:
        if self._trouble is not None:
            log.info("standing_by", why=why)
        self._trouble = None
        self._turned = time.monotonic()

    async def _lead(self) -> None:
        """Rounds, as long as this process holds the folder's lock."""
        pause_s, opened = _FIRST_PAUSE_S, False
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                if await self._connected():
                    if not opened:
                        await self._open()
                        opened = True
                    await self._round()
                    self._trouble, pause_s = None, _FIRST_PAUSE_S
                self._turned = time.monotonic()
            except (TransientError, OSError) as error:
                self._trouble = str(error) or repr(error)
                log.warning("held", error=self._trouble, kind=type(error).__name__, pause_s=pause_s)
                self._metrics.failures.labels("round").inc()
                await self._store.close()
                await self._wait(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            interval_s = 0.0 if self._behind else self._settings.interval_s
            await self._wait(interval_s - (time.monotonic() - started))

    async def _open(self) -> None:
        self._book = await open_book(self._settings, self._store, self._outlet)

    async def _connected(self) -> bool:
        """Whether this sealer is connected and leads. Every reconnection has to win the lead anew."""
        if self._store.connected:
            return True
        await self._store.open()
        if await self._store.leads():
            log.info("leads")
            return True
        await self._store.close()
        self._stand_by("another sealer of this database leads")
        return False

    async def _round(self) -> None:
        """One look at everything; a seal if there is news, or if the last one is old."""
        started = time.monotonic()
        await self._outlet.finish(self._store)  # a seal that was signed and not published everywhere yet
        await self._key_change.look(self._book, self._store, self._outlet)
        self._behind = False
        heads = await self._store.heads()
        await self._say(self._watch(heads))
        self._away = ""
        said = await self._said()
        news = [found for head in heads if (found := await self._news_of(head, said)) is not None]
        gains = await self._compare(news)
        self._behind = self._behind and bool(gains)  # what is refused is looked at in its time
        now_us = self._clock()
        due_us = self._book.memory.sealed_us + int(self._settings.heartbeat_s * 1_000_000)
        if not gains and not self._key_change.pending and now_us < due_us:
            return
        work = self._book.seal(gains, now_us)
        # Signed, and known to nobody yet. From the memory's replacement on it counts as signed.
        await self._outlet.take(self._book.memory, work)
        await self._outlet.finish(self._store)
        await self._key_change.sealed(self._book, self._outlet)
        self._count(gains)
        self._metrics.round_seconds.observe(time.monotonic() - started)

    def _watch(self, heads: list[Head]) -> list[Alert]:
        """Takes note of new chains; says which chains have less than was signed."""
        found = {head.chain_id: head for head in heads}
        chains = self._book.memory.chains
        for head in heads:
            if head.chain_id not in chains:
                chains[head.chain_id] = ChainMemory(
                    head.chain_id, head.chain_no, head.topic, head.topic_id, head.partition
                )
                self._book.open_chain(head.chain_id)
        said = []
        for chain_id, chain in chains.items():
            head_of = found.get(chain_id)
            if head_of is None or head_of.next_seq < chain.size:
                said.append(alerts.set_back(chain, None if head_of is None else head_of.next_seq))
                self._refused.add(chain_id)
            elif chain.frontier is not None:
                self._refused.discard(chain_id)
        return said

    async def _said(self) -> Said | None:
        """What the writers said of their heads: asked after the database was, so that it has what stands there. None
        where Kafka is away."""
        try:
            return await self._on_kafka(self._ask_heads)
        except TransientError as error:
            self._note_away(error)
            return None

    def _note_away(self, error: TransientError) -> None:
        self._away = str(error)
        log.warning("kafka_away", error=self._away)
        self._metrics.failures.labels("kafka").inc()

    def _ask_heads(self) -> Said:
        with self._connected_source() as source:
            return source.heads()

    async def _vouched(self, chain: ChainMemory, linked: Linked, head: Head, said: Said | None) -> Vouched:
        """What the writer vouches for. A contradiction is believed once it has stood for a while: a writer that had lost
        the chain may have said something late, which its successor puts right."""
        own = [] if said is None else said.get(TopicPartition(head.topic, head.partition), [])
        found = await self._voucher.judge(chain, linked, own, head.next_seq)
        if not found.contradicted:
            self._contradicted_since.pop(chain.chain_id, None)
            return found
        now = time.monotonic()
        if now - self._contradicted_since.setdefault(chain.chain_id, now) >= self._settings.patience_s:
            await self._say([alerts.not_appended(chain)])
            self._refused.add(chain.chain_id)
        return found

    async def _news_of(self, head: Head, said: Said | None) -> News | None:
        chain = self._book.memory.chains[head.chain_id]
        waiting = head.next_seq - chain.size
        self._metrics.waiting.labels(str(head.chain_no)).set(max(waiting, 0))
        if waiting <= 0 or chain.frontier is None:
            self._held_since.pop(head.chain_id, None)
            return None
        end = min(head.next_seq, chain.size + min(self._settings.records_a_round, READ_AT_ONCE))
        self._behind = self._behind or end < head.next_seq
        stretch = await self._store.stretch(head.chain_no, chain.size, end)
        linked = await asyncio.to_thread(link, chain, stretch.leaves)
        if linked.broken or len(linked.leaves) < end - chain.size:
            await self._say([alerts.broken_link(chain, chain.size + len(linked.leaves))])
            self._refused.add(head.chain_id)
        look = Look(stretch)
        start = chain.next_offset if chain.next_offset >= 0 else look.first or 0
        at = TopicPartition(head.topic, head.partition)
        reading = Reading(at, head.topic_id, start, look)
        return News(chain, linked, reading, await self._vouched(chain, linked, head, said))

    async def _compare(self, news: list[News]) -> dict[bytes, Gain]:
        """What may be sealed of each chain, after a second look at Kafka."""
        for group in _apart(news):
            if self._away:
                break
            try:
                await self._on_kafka(self._look, [found.reading for found in group])
            except TransientError as error:
                self._note_away(error)
        gains = {}
        for found in news:
            gained = await self._gain(found)
            if gained is not None:
                gains[found.chain.chain_id] = gained
        return gains

    async def _gain(self, found: News) -> Gain | None:
        chain, look = found.chain, found.reading.look
        if look.mismatch is not None:
            await self._say([alerts.mismatch(chain, look.mismatch)])
            self._refused.add(chain.chain_id)
        known = min(look.compared, found.vouched.records)
        refused = look.mismatch is not None or found.vouched.contradicted
        patience_over = self._patience_over(chain.chain_id, known, len(found.linked.leaves), refused=refused)
        gained = gain(chain, found.linked, look, found.vouched.records, patience_over=patience_over)
        if gained is not None and gained.compared < len(gained.hashes):
            first, last = chain.size + gained.compared, chain.size + len(gained.hashes) - 1
            unsaid = (
                "the topic did not deliver them in time"
                if look.compared < len(gained.hashes)
                else "the writer did not say outside the database that it appended them"
            )
            why = found.reading.cannot or self._away or unsaid
            await self._say([alerts.uncompared(chain, first, last, why)])
        return gained

    def _patience_over(self, chain_id: bytes, known: int, wanted: int, *, refused: bool) -> bool:
        """Whether records have waited long enough for the topic to deliver their messages, and the writer to vouch for
        them; any progress begins anew."""
        now = time.monotonic()
        if refused or known >= wanted:
            self._held_since.pop(chain_id, None)
            return False
        if known:
            self._held_since[chain_id] = now
        return now - self._held_since.setdefault(chain_id, now) >= self._settings.patience_s

    def _look(self, readings: list[Reading]) -> None:
        with self._connected_source() as source:
            source.compare(readings, LOOK_SECONDS)

    @contextmanager
    def _connected_source(self) -> Iterator[Source]:
        """On Kafka's thread. One that has failed is made anew the next time."""
        if self._source is None:
            self._source = self._connect(self._kafka)
        try:
            yield self._source
        except TransientError:
            with suppress(Exception):
                self._source.close()
            self._source = None
            raise

    def _count(self, gains: dict[bytes, Gain]) -> None:
        self._metrics.seals.inc()
        self._metrics.sealed_at.set(self._book.memory.sealed_us / 1_000_000)
        self._metrics.refused.set(len(self._refused))
        for gained in gains.values():
            self._metrics.records.labels("yes").inc(gained.compared)
            self._metrics.records.labels("no").inc(len(gained.hashes) - gained.compared)

    async def _say(self, said: list[Alert]) -> None:
        """Each alert once in a process; the writer drops repeats of its id."""
        self._metrics.refused.set(len(self._refused))
        await self._outlet.say(said)

    async def _close(self) -> None:
        await self._store.close()
        if self._source is not None:
            with suppress(Exception):
                await self._on_kafka(self._source.close)
        await self._outlet.close()
        self._thread.shutdown(wait=False)

    async def _wait(self, seconds: float) -> None:
        """Sleeps, but not beyond the stop."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), max(seconds, 0))

    async def _on_kafka(self, call: Callable[..., Result], *arguments: Any) -> Result:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(call, *arguments))


def _apart(news: list[News]) -> list[list[News]]:
    """Groups in which no partition stands twice: a topic that was made anew, or rewound, has several chains."""
    groups: list[list[News]] = []
    for found in news:
        for group in groups:
            if all(other.reading.at != found.reading.at for other in group):
                group.append(found)
                break
        else:
            groups.append([found])
    return groups
