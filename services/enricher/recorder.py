"""Every request of the annotator on record, before its answer is used."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from services.common.ai.account import Purpose
from services.common.ai.asker import Exchange
from services.common.ai.record import budget_alert, failing_alert, inference_event, log_prompt
from services.common.clock import Clock
from services.enricher.annotations import SOURCE
from services.enricher.annotator_metrics import AnnotatorMetrics
from services.enricher.outbox import Outbox

_HOUR_US = 3_600_000_000
_LASTING = ("key", "model", "quota")
"""Failures that one request is enough for: nobody is answered until somebody acts."""


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
        self._hour = 0
        self._failures: Counter[str] = Counter()

    async def __call__(self, exchange: Exchange) -> None:
        if self._prompt_log is not None:
            await asyncio.to_thread(log_prompt, self._prompt_log, exchange, self._clock())
        await self._outbox.own_event(inference_event(exchange, SOURCE, self._clock()))
        self._metrics.requests.labels(exchange.outcome).inc()
        self._metrics.tokens.labels("in").inc(exchange.tokens_in)
        self._metrics.tokens.labels("out").inc(exchange.tokens_out)
        self._metrics.dollars.inc((exchange.micro or 0) / 1_000_000)
        await self._watch(exchange.outcome)

    async def spent(self, limit: str, purpose: Purpose) -> None:
        """A limit is reached: told once a month."""
        alert = budget_alert(limit, purpose, self._model, self._clock())
        if alert.id not in self._told:
            await self._outbox.alert(alert, SOURCE, self._clock())
            self._told.add(alert.id)

    async def _watch(self, outcome: str) -> None:
        """Where somebody must act before anything is answered again, that is said once an hour. That many fail for other
        reasons is the alerter's to say (`ai_failures`)."""
        hour = self._clock() // _HOUR_US
        if hour != self._hour:
            self._hour, self._failures = hour, Counter()
        self._failures["" if outcome in ("answered", "dialect") else outcome] += 1
        made = self._failures.total()
        failed = made - self._failures[""]
        lasting = any(self._failures[kind] for kind in _LASTING)
        if lasting and failed * 2 > made:
            why = max(_LASTING, key=self._failures.__getitem__)
            alert = failing_alert(why, failed, made, self._model, self._clock())
            if alert.id not in self._told:
                await self._outbox.alert(alert, SOURCE, self._clock())
                self._told.add(alert.id)
