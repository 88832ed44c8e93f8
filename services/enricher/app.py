"""The Faust app: its transport, its producer, and the watch over the topics."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import faust
from aiokafka import AIOKafkaProducer
from mode import Service

from schemas.topics import ENRICHMENT_ALLOWANCE
from services.common.errors import FatalError, TransientError
from services.common.kafka import check_topics, sasl_password, ssl_context
from services.common.logging import get_logger
from services.common.settings import KafkaSettings
from services.enricher.settings import EnricherSettings
from services.enricher.topic_ids import TopicIds
from services.enricher.transport import BatchConsumer, BatchLimits, BatchTransport

log = get_logger(__name__)

LOOK_EVERY_S = 5.0
CHECK_EVERY_S = 60.0


class BatchApp(faust.App):
    """A Faust app whose `batched_topics` arrive in batches. `failure` is set by whatever must end the process."""

    logger = logging.getLogger("faust.app")
    batched_topics: frozenset[str] = frozenset()
    batch_limits = BatchLimits(1000, 4 * 1024 * 1024)
    fetch_bytes = 16 * 1024 * 1024
    before_revocation: Callable[[], Awaitable[None]] | None = None
    """Awaited before partitions are given up: what is under way in them must not be written after their next owner's."""

    def configure(self, kafka: KafkaSettings, settings: EnricherSettings, batched: str) -> None:
        """What Faust's own settings have no place for."""
        self.kafka = kafka
        self.ack_timeout_s = settings.ack_timeout_s
        self.batched_topics = frozenset({batched})
        self.batch_limits = BatchLimits(settings.batch_events, settings.batch_bytes)
        self.fetch_bytes = settings.fetch_bytes
        self.ids = TopicIds(kafka, self.batched_topics)
        self.joined = asyncio.Event()
        self.failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    def _create_directories(self) -> None:
        """None: nothing is kept in Faust's folders, and each start would leave some behind."""

    def _new_transport(self) -> Any:
        return BatchTransport(self.conf.broker_consumer, self)

    @property
    def batch_consumer(self) -> BatchConsumer:
        """The consumer, which exists once the app runs."""
        return cast("BatchConsumer", self.consumer)

    @property
    def crashed_event(self) -> Any:
        """Set when Faust has crashed."""
        return self._crashed

    def read_batches(self, take: Callable[[Any, Callable[[], Any]], Awaitable[None]]) -> None:
        """Hands every batch of the batched topics to `take`, with what acknowledges it in Faust: to be called last.

        Faust acknowledges the event of an agent that raises or is cancelled: hence `noack`, and the ledger, which
        Faust's acknowledgements do not reach.
        """
        topic = self.topic(*self.batched_topics, schema=BatchSchema(), acks=True)

        async def read(stream: Any) -> None:
            async for event in stream.noack().events():
                try:
                    await take(event.value, event.ack)
                except Exception as error:  # noqa: BLE001 - Faust would restart the agent and go on
                    self.fail(error)
                    await asyncio.Event().wait()

        self.agent(topic, name="batches")(read)

    def wrong(self) -> str | None:
        """What is wrong with the process, None if it runs."""
        return "failed" if self.failure.done() or self.crashed else None

    def not_ready(self) -> str | None:
        """Why no events are read, None if they are."""
        if self.wrong() is not None:
            return self.wrong()
        return None if self.joined.is_set() and not self.rebalancing else "waiting for partitions"

    def fail(self, error: BaseException) -> None:
        """Ends the process: `run` waits for it. Only the first error counts."""
        if not self.failure.done():
            self.failure.set_result(error)


class BatchSchema(faust.Schema[Any, Any]):
    """Takes the batch as it is: there is nothing to decode."""

    def loads_key(self, app: Any, message: Any, **options: Any) -> Any:
        del app, options
        return message.key

    def loads_value(self, app: Any, message: Any, **options: Any) -> Any:
        del app, options
        return message.value


class Watch(Service):
    """Looks at the topics and at the ledger; what is wrong ends the process."""

    logger = logging.getLogger("faust.watch")

    def __init__(self, app: BatchApp, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.app = app
        self._progress = app.batch_consumer.progress()
        self._moved = time.monotonic()

    @Service.task
    async def _look(self) -> None:
        checked = time.monotonic()
        while not self.should_stop:
            await self.sleep(LOOK_EVERY_S)
            try:
                await self.app.ids.refresh()
                if time.monotonic() - checked > CHECK_EVERY_S:
                    await asyncio.to_thread(check_topics, self.app.kafka)
                    checked = time.monotonic()
                self._look_at_ledger()
                self._look_at_fetching()
            except TransientError as error:
                log.warning("broker_not_reached", error=str(error))
            except Exception as error:  # noqa: BLE001 - a watch that dies quietly would be worse than none
                self.app.fail(error)

    def _look_at_ledger(self) -> None:
        stuck = self.app.batch_consumer.ledger.stuck(time.monotonic(), self.app.ack_timeout_s)
        if stuck:
            raise FatalError(f"the oldest batch of {stuck} is not done after {self.app.ack_timeout_s:g} s")

    def _look_at_fetching(self) -> None:
        """A consumer that fetches nothing any more (a lost rebalance, say) must not go unseen."""
        progress, limit_s = self.app.batch_consumer.progress(), self.app.ack_timeout_s
        if progress != self._progress:
            self._progress, self._moved = progress, time.monotonic()
        elif time.monotonic() - self._moved > limit_s:
            if self.app.rebalancing:
                raise FatalError(f"the consumer group has been rebalancing for {limit_s:g} s")
            if silent := self.app.batch_consumer.unpolled(limit_s):
                raise FatalError(f"nothing was fetched from {silent} for {limit_s:g} s")


def new_app(kafka: KafkaSettings, settings: EnricherSettings, *, service: str, batched: str) -> BatchApp:
    """An app in the consumer group of `service` that reads the topic `batched`. Needs a running event loop."""
    app = BatchApp(
        kafka.topics.group(service),
        broker=[f"kafka://{server.strip()}" for server in kafka.bootstrap_servers.split(",")],
        broker_credentials=_credentials(kafka),
        broker_session_timeout=kafka.session_timeout_ms / 1000,
        broker_heartbeat_interval=max(kafka.session_timeout_ms / 1000 / 10, 0.3),
        broker_rebalance_timeout=max(kafka.session_timeout_ms / 1000, 10.0),
        broker_request_timeout=max(90.0, kafka.session_timeout_ms / 1000),
        broker_max_poll_records=20_000,
        broker_commit_interval=settings.commit_interval_s,
        consumer_max_fetch_size=_partition_fetch_bytes(kafka.partitions, settings.fetch_bytes),
        consumer_auto_offset_reset="earliest",
        # Messages are batches here: with Faust's default the whole backlog would sit in memory.
        stream_buffer_maxsize=4,
        stream_wait_empty=False,
        table_standby_replicas=0,
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
        store="memory://",
        processing_guarantee="at_least_once",
    )
    app.configure(kafka, settings, batched)
    return app


def _partition_fetch_bytes(partitions: int, fetch_bytes: int) -> int:
    """Of one partition at once: what is fetched of all of them lies in memory, a few fetches at most. The setting
    KAFKA_PARTITIONS is taken for the number of partitions."""
    return max(1024, min(1024 * 1024, 2 * fetch_bytes // partitions, fetch_bytes))


def _credentials(kafka: KafkaSettings) -> Any:
    context = ssl_context(kafka) if kafka.security_protocol.endswith("SSL") else None
    if kafka.security_protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=kafka.sasl_username,
            password=sasl_password(kafka),
            mechanism=kafka.sasl_mechanism,
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context)


def client_settings(kafka: KafkaSettings) -> dict[str, Any]:
    """What every client of aiokafka beside Faust's is made with."""
    options: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap_servers,
        "security_protocol": kafka.security_protocol,
    }
    if kafka.security_protocol.endswith("SSL"):
        options["ssl_context"] = ssl_context(kafka)
    if kafka.security_protocol.startswith("SASL"):
        options |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.sasl_username,
            "sasl_plain_password": sasl_password(kafka),
        }
    return options


def new_producer(kafka: KafkaSettings, client_id: str) -> AIOKafkaProducer:
    """The producer for all that leads to a record: acks from all replicas, idempotent, so that order holds and no
    batch expires by itself."""
    limit = kafka.event_limit + ENRICHMENT_ALLOWANCE
    return AIOKafkaProducer(
        client_id=client_id,
        acks="all",
        enable_idempotence=True,
        linger_ms=0,
        max_batch_size=min(512 * 1024, limit),
        max_request_size=limit + 4096,
        **client_settings(kafka),
    )


async def run_until(
    app: BatchApp, stop: asyncio.Event, settle: Callable[[], Awaitable[None]], *, grace_s: float = 20.0
) -> BaseException | None:
    """Runs a started app until `stop` or a failure, which it returns.

    After `stop` it waits for what is under way (`settle`), so that it is committed. Then the app is stopped, for
    `grace_s` seconds at most and a few after a failure: the process ends anyway, and whatever is not committed is
    read again.
    """
    watch = Watch(app)
    await watch.start()
    stopping = asyncio.ensure_future(stop.wait())
    crashed = asyncio.ensure_future(app.crashed_event.wait())
    await asyncio.wait({stopping, crashed, app.failure}, return_when=asyncio.FIRST_COMPLETED)
    failure = app.failure.result() if app.failure.done() else app.crash_reason
    if failure is None:
        await asyncio.wait({asyncio.ensure_future(settle())}, timeout=grace_s)
    ending = asyncio.ensure_future(_end(watch, app))
    done, _ = await asyncio.wait({ending}, timeout=grace_s if failure is None else 3.0)
    if not done:
        log.warning("stop_takes_too_long")
    for waiting in (stopping, crashed):
        waiting.cancel()
    return failure


async def _end(watch: Watch, app: BatchApp) -> None:
    await watch.stop()
    await app.stop()
