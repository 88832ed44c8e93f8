"""A question asked until there is an answer, within the budget, and every request put on record."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from services.common.ai.breaker import Breaker
from services.common.ai.budget import Budget
from services.common.ai.client import Client, Message
from services.common.ai.outcome import WAITS, Answer, Failure

_OWN_FAILURES = 4
_DIALECTS = 4
_SPENT = Failure("budget", "AI_MAX_REQUESTS is used up: raise it, or restart the annotator")


class Exchange(NamedTuple):
    """One request as it goes on record: SHA-256 (hex) of the messages' JSON and of the answer's text."""

    model: str
    answered_by: str
    input_hash: str
    output_hash: str
    tokens_in: int
    tokens_out: int
    latency_ms: int
    outcome: str
    status: int | None


class Asker:
    """Asks through breaker and budget. `record` is awaited after every single request, whatever came of it.

    A request that fails while others succeed is given up after four attempts; one that fails with all others, when
    `give_up_after_s` seconds have gone by since its first failure.
    """

    def __init__(
        self,
        client: Client,
        breaker: Breaker,
        budget: Budget,
        record: Callable[[Exchange], Awaitable[None]],
        *,
        give_up_after_s: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._breaker = breaker
        self._budget = budget
        self._record = record
        self._give_up_after_s = give_up_after_s
        self._now = now

    async def ask(self, messages: list[Message], name: str, schema: dict[str, Any]) -> Answer | Failure:
        """The answer, or the failure with which the question is given up."""

        async def once() -> Answer | Failure:
            return await self._once(messages, name, schema)

        first_failure: float | None = None
        own_failures = dialects = 0
        while not self._budget.spent:
            successes = self._breaker.successes
            result = await self._breaker.run(once)
            if isinstance(result, Failure) and result.kind == "dialect" and dialects < _DIALECTS:
                dialects += 1
                continue
            if isinstance(result, Answer) or result.kind not in WAITS:
                return result
            own_failures += self._breaker.successes > successes
            first_failure = self._now() if first_failure is None else first_failure
            if own_failures >= _OWN_FAILURES or self._now() - first_failure >= self._give_up_after_s:
                return result
        return _SPENT

    async def _once(self, messages: list[Message], name: str, schema: dict[str, Any]) -> Answer | Failure:
        if not await self._budget.take():
            return _SPENT
        started = self._now()
        result = await self._client.ask(messages, name, schema)
        latency_ms = round((self._now() - started) * 1000)
        await self._record(_exchange(self._client.model, messages, result, latency_ms))
        return result


def _exchange(model: str, messages: list[Message], result: Answer | Failure, latency_ms: int) -> Exchange:
    status: int | None = 200
    answered_by = outcome = output_hash = ""
    if isinstance(result, Answer):
        answered_by, outcome = result.model, "answered"
        output_hash = sha256(result.text.encode("utf-8", "replace")).hexdigest()
    else:
        outcome, status = result.kind, result.status
    return Exchange(
        model,
        answered_by,
        sha256(msgspec.json.encode(messages)).hexdigest(),
        output_hash,
        result.tokens_in,
        result.tokens_out,
        latency_ms,
        outcome,
        status,
    )
