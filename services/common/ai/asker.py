"""A question asked until there is an answer, within the budget, and every request put on record."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from services.common.ai.account import Purpose, Refused
from services.common.ai.breaker import Breaker
from services.common.ai.budget import Budget, Grant, Wanted
from services.common.ai.client import Client, Message
from services.common.ai.outcome import WAITS, Answer, Failure

_OWN_FAILURES = 4
_DIALECTS = 4
_MESSAGE_TOKENS = 16
_UNPAID = frozenset({400, 401, 403, 404, 409, 422, 429, 500, 501, 502, 503})
"""Answers for which providers charge nothing."""


class About(NamedTuple):
    """What a request is for. `source`: whose new shape it reads; `claim`: what nobody else is to ask meanwhile."""

    purpose: Purpose
    prompt_version: str
    source: str = ""
    claim: str = ""


class Exchange(NamedTuple):
    """One request as it goes on record: SHA-256 (hex) of the messages' JSON and of the answer's text; `micro`: what it
    cost in micro-dollars by the prices of `priced` (a date), None where the price is not known."""

    model: str
    answered_by: str
    about: About
    input_hash: str
    output_hash: str
    tokens_in: int
    tokens_out: int
    micro: int | None
    priced: str
    latency_ms: int
    outcome: str
    status: int | None
    messages: list[Message]
    text: str


class Asked(NamedTuple):
    """What came of a question; `grant` holds its claim, which is to be released once the answer is put to use."""

    result: Answer | Failure
    grant: Grant | None


class Asker:
    """Asks through breaker and budget. `record` is awaited after every single request, whatever came of it; `spent` when a
    limit of the month is reached.

    A request that fails while others succeed is given up after four attempts; one that fails with all others, when
    `give_up_after_s` seconds have gone by since its first failure.
    """

    def __init__(
        self,
        client: Client,
        breaker: Breaker,
        budget: Budget,
        record: Callable[[Exchange], Awaitable[None]],
        spent: Callable[[str, Purpose], Awaitable[None]],
        *,
        give_up_after_s: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._breaker = breaker
        self._budget = budget
        self._record = record
        self._spent = spent
        self._give_up_after_s = give_up_after_s
        self._now = now

    async def ask(
        self,
        messages: list[Message],
        name: str,
        schema: dict[str, Any],
        about: About,
        *,
        give_up_after_s: float | None = None,
        output_tokens: int | None = None,
    ) -> Asked:
        """The answer, or the failure with which the question is given up."""
        patience_s = self._give_up_after_s if give_up_after_s is None else give_up_after_s
        grants: list[Grant] = []

        async def once() -> Answer | Failure:
            return await self._once(messages, name, schema, about, grants, output_tokens)

        first_failure: float | None = None
        own_failures = dialects = 0
        while True:
            successes = self._breaker.successes
            result = await self._breaker.run(once)
            if isinstance(result, Failure) and result.kind == "dialect" and dialects < _DIALECTS:
                dialects += 1
                continue
            if isinstance(result, Answer) or result.kind not in WAITS:
                return Asked(result, grants[0] if grants else None)
            own_failures += self._breaker.successes > successes
            first_failure = self._now() if first_failure is None else first_failure
            if own_failures >= _OWN_FAILURES or self._now() - first_failure >= patience_s:
                return Asked(result, grants[0] if grants else None)

    def is_new(self, source: str) -> bool:
        """Whether a source has had no new shape before today."""
        return self._budget.age(source) == 0

    async def release(self, asked: Asked) -> None:
        """What was claimed may be asked about by others."""
        if asked.grant is not None:
            await self._budget.release(asked.grant)

    async def _once(
        self,
        messages: list[Message],
        name: str,
        schema: dict[str, Any],
        about: About,
        grants: list[Grant],
        output_tokens: int | None,
    ) -> Answer | Failure:
        most = (most_tokens(messages, schema), output_tokens or self._client.output_tokens)
        # Attempts after the first are under its claim, and of the same new shape.
        again = bool(grants)
        wanted = Wanted(about.purpose, *most, "" if again else about.source, "" if again else about.claim)
        grant = await self._budget.reserve(wanted)
        if isinstance(grant, Refused):
            if grant.limit.startswith(("month", "minute")):
                await self._spent(grant.limit, about.purpose)
            return _refusal(grant)
        grants.append(grant)
        started = self._now()
        result = await self._client.ask(messages, name, schema, output_tokens=output_tokens)
        latency_ms = round((self._now() - started) * 1000)
        tokens = _tokens(result, most)
        await self._budget.settle(grant, *tokens)
        price = self._budget.price
        await self._record(
            _exchange(self._client.model, messages, result, about, latency_ms)._replace(
                micro=self._budget.micro(*tokens), priced="" if price is None else price.date
            )
        )
        return result


def most_tokens(messages: list[Message], schema: dict[str, Any]) -> int:
    """As many tokens as a request can have: no tokenizer in use makes more than one of a byte."""
    texts = sum(len(message["content"].encode("utf-8", "replace")) + _MESSAGE_TOKENS for message in messages)
    return texts + len(msgspec.json.encode(schema))


def _tokens(result: Answer | Failure, most: tuple[int, int]) -> tuple[int, int]:
    """What is to be paid: as the server counts; nothing for a refused request; the most where nobody says."""
    if result.tokens_in or result.tokens_out:
        return result.tokens_in, result.tokens_out
    if isinstance(result, Failure) and result.status in _UNPAID:
        return 0, 0
    return most


def _refusal(refused: Refused) -> Failure:
    if refused.limit in ("source", "sources"):
        advice = {
            "source": "the source has had its new readings for this hour: AI_MAX_NEW_SHAPES_PER_SOURCE",
            "sources": "sources of its age have had their new readings for this hour: AI_MAX_NEW_SHAPES_TOGETHER",
        }
        return Failure("source", advice[refused.limit], None, (refused.again_ms or 0) / 1000)
    if refused.limit == "claimed":
        return Failure(
            "claimed", "another annotator asks about it", retry_after_s=(refused.again_ms or 0) / 1000
        )
    period, unit = refused.limit.split()
    return Failure(
        "budget",
        f"the {period}'s AI budget is used up: raise AI_MAX_{unit.upper()}_PER_{period.upper()}, or wait",
    )


def _exchange(
    model: str, messages: list[Message], result: Answer | Failure, about: About, latency_ms: int
) -> Exchange:
    status: int | None = 200
    answered_by = outcome = output_hash = text = ""
    if isinstance(result, Answer):
        answered_by, outcome, text = result.model, "answered", result.text
        output_hash = sha256(text.encode("utf-8", "replace")).hexdigest()
    else:
        outcome, status = result.kind, result.status
    return Exchange(
        model,
        answered_by,
        about,
        sha256(msgspec.json.encode(messages)).hexdigest(),
        output_hash,
        result.tokens_in,
        result.tokens_out,
        None,
        "",
        latency_ms,
        outcome,
        status,
        messages,
        text,
    )
