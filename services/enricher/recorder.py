"""Every request of the annotator on record, before its answer is used."""

from __future__ import annotations

import asyncio
from pathlib import Path

from services.common.ai.account import Purpose
from services.common.ai.asker import Exchange
from services.common.ai.record import budget_alert, inference_event, log_prompt
from services.common.clock import Clock
from services.enricher.annotations import SOURCE
from services.enricher.annotator_metrics import AnnotatorMetrics
from services.enricher.outbox import Outbox


class Recorder:
    """Puts every request to the model on audit.system, and says when a budget is used up. `prompt_log`: where the texts
    go, None for nowhere."""

    def __init__(
        self,
        outbox: Outbox,
        metrics: AnnotatorMetrics,
        model: str,
        clock: Clock,
        prompt_log: Path | None = None,
    ) -> None:
        self._outbox = outbox
        self._metrics = metrics
        self._model = model
        self._clock = clock
        self._prompt_log = prompt_log
        self._told: set[str] = set()

    async def __call__(self, exchange: Exchange) -> None:
        if self._prompt_log is not None:
            await asyncio.to_thread(log_prompt, self._prompt_log, exchange, self._clock())
        await self._outbox.own_event(inference_event(exchange, SOURCE, self._clock()))
        self._metrics.requests.labels(exchange.outcome).inc()
        self._metrics.tokens.labels("in").inc(exchange.tokens_in)
        self._metrics.tokens.labels("out").inc(exchange.tokens_out)
        self._metrics.dollars.inc((exchange.micro or 0) / 1_000_000)

    async def spent(self, limit: str, purpose: Purpose) -> None:
        """A limit is reached: told once a month."""
        alert = budget_alert(limit, purpose, self._model, self._clock())
        if alert.id not in self._told:
            await self._outbox.alert(alert, SOURCE, self._clock())
            self._told.add(alert.id)
