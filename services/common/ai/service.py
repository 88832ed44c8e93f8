"""Asking the model from a service: within the budget that all share, and on record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from services.common.ai.account import Purpose
from services.common.ai.asker import About, Asker, Exchange
from services.common.ai.breaker import Breaker
from services.common.ai.budget import Budget
from services.common.ai.budget_log import KafkaBudgetLog
from services.common.ai.client import Client, Message
from services.common.ai.outcome import Answer, Failure
from services.common.ai.record import budget_alert, inference_event, log_prompt
from services.common.ai.settings import AiSettings
from services.common.alerts import Alert, as_message, as_own_event
from services.common.clock import system_clock
from services.common.errors import TransientError
from services.common.kafka_client import client_options
from services.common.logging import get_logger
from services.common.settings import KafkaSettings

log = get_logger(__name__)
_TIMEOUT_S = 30


class Model:
    """The model of the settings. `name` is the label of what it says."""

    def __init__(self, name: str, asker: Asker) -> None:
        self.name = name
        self._asker = asker

    async def ask(
        self,
        messages: list[Message],
        name: str,
        schema: dict[str, Any],
        *,
        purpose: Purpose,
        prompt_version: str,
        output_tokens: int | None = None,
        give_up_after_s: float | None = None,
    ) -> Answer | Failure:
        """JSON by `schema` (named `name`), or why there is none; never raises for what a model can do. Raises
        TransientError where Kafka, which holds the budget, is not reached."""
        asked = await self._asker.ask(
            messages,
            name,
            schema,
            About(purpose, prompt_version),
            give_up_after_s=give_up_after_s,
            output_tokens=output_tokens,
        )
        return asked.result


class SystemTopic:
    """Puts requests and alerts on audit.system (alerts on audit.alerts too), each durable before it goes on."""

    def __init__(self, kafka: KafkaSettings, ai: AiSettings, source: str) -> None:
        self._topics = kafka.topics
        self._ai = ai
        self._source = source
        self._told: set[str] = set()
        try:
            self._producer = KafkaProducer(
                **client_options(kafka, f"{source.replace('/', '-')}-ai"), acks="all", enable_idempotence=True
            )
        except KafkaError as error:
            raise TransientError(f"Kafka cannot now: {error!r}") from error

    async def record(self, exchange: Exchange) -> None:
        """One request."""
        now_us = system_clock()
        if self._ai.prompt_log is not None:
            await asyncio.to_thread(log_prompt, self._ai.prompt_log, exchange, now_us)
        await asyncio.to_thread(
            self._send, [(self._topics.system, inference_event(exchange, self._source, now_us))]
        )

    async def spent(self, limit: str, purpose: Purpose) -> None:
        """A limit is reached."""
        alert = budget_alert(limit, purpose, self._ai.model_name, system_clock())
        if alert.id not in self._told:
            await self.alert(alert)
            self._told.add(alert.id)

    async def alert(self, alert: Alert) -> None:
        """One alert."""
        now_us = system_clock()
        said = [
            (self._topics.alerts, as_message(alert, self._source, now_us)),
            (self._topics.system, as_own_event(alert, self._source, now_us)),
        ]
        await asyncio.to_thread(self._send, said)

    def close(self) -> None:
        self._producer.close(timeout=5)

    def _send(self, messages: list[tuple[str, bytes]]) -> None:
        try:
            sent = [self._producer.send(topic, value=value, partition=0) for topic, value in messages]
            self._producer.flush(timeout=_TIMEOUT_S)
            for future in sent:
                future.get(timeout=_TIMEOUT_S)
        except KafkaError as error:
            raise TransientError(f"a request to the model could not be put on record: {error!r}") from error


@asynccontextmanager
async def open_model(settings: AiSettings, kafka: KafkaSettings, *, service: str) -> AsyncIterator[Model]:
    """The model for a service: its requests are own events of source `piperoll/<service>`. Raises ConfigurationError
    where a dollar limit lacks a price, TransientError where no broker answers."""
    price = settings.price()
    topic = await asyncio.to_thread(SystemTopic, kafka, settings, f"piperoll/{service}")
    budget_log = await asyncio.to_thread(KafkaBudgetLog, kafka, f"piperoll-{service}-ai-budget")
    client = Client(settings)
    try:
        asker = Asker(
            client,
            Breaker(),
            Budget(budget_log, settings.limits, price),
            topic.record,
            topic.spent,
            give_up_after_s=settings.give_up_after_s,
        )
        yield Model(settings.model_name, asker)
    finally:
        await client.close()
        await asyncio.to_thread(budget_log.close)
        await asyncio.to_thread(topic.close)
