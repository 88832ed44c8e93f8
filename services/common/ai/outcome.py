"""What comes back when a model is asked: an answer, or a failure with what to do about it."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal[
    "key",  # 401, 403: nobody is answered until somebody acts
    "model",  # 404: nor here
    "quota",  # 429 for want of money
    "rate",  # 429, with Retry-After
    "away",  # not reached, cut, 5xx
    "slow",  # no answer in time
    "dialect",  # a form of request that this server refuses: asked again in a plainer one
    "request",  # this request is refused, others may not be
    "refused",  # the model or a filter declines
    "truncated",  # the answer is longer than allowed
    "malformed",  # the answer is none
    "budget",  # not asked: a limit of the month is reached
    "source",  # not asked: the source has had its new readings for this hour
    "claimed",  # not asked: another process is asking the same
]
NOT_ASKED: frozenset[Kind] = frozenset({"budget", "source", "claimed"})
WAITS: frozenset[Kind] = frozenset({"key", "model", "quota", "rate", "away", "slow"})
"""Failures that concern every request: asking stops for a while, then this one is tried again."""


class Answer(NamedTuple):
    """The text of an answer, the model as the server names it, and what it took."""

    text: str
    model: str
    tokens_in: int
    tokens_out: int


class Failure(NamedTuple):
    """Why there is no answer. `advice` says what to do; it holds no key and no content of events."""

    kind: Kind
    advice: str
    status: int | None = None
    retry_after_s: float | None = None
    tokens_in: int = 0
    tokens_out: int = 0
