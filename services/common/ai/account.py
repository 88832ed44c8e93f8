"""The account of what a model may cost: a fold over one log, the same for everybody who reads it. Pure.

Every process that asks a model appends what it wants to the topic audit.ai-budget, and reads the topic up to there. Whether
it may follows from all that stands before in the log: the log is the one owner of the counter, so N processes never
exceed a limit, and a crash leaves a reservation that stays spent. Time is the broker's.

Limits are kept for a sliding minute and for the month (UTC), in requests, tokens and micro-dollars. Of each, 10 % are kept
for executive summaries and 20 % for events of high risk: others cannot use that part.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from typing import Literal

import msgspec

Purpose = Literal["summary", "high", "event", "shape"]
SHARES: dict[str, float] = {"summary": 0.1, "high": 0.2}
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
CLAIM_MS = 10 * 60_000
"""After this a claim is nobody's: whoever held it has crashed."""
_SOURCES_LIMIT, _CLAIMS_LIMIT = 20_000, 2_000
Amount = list[int]
"""Requests, tokens, micro-dollars."""
UNITS = ("requests", "tokens", "dollars")


class Limits(msgspec.Struct, frozen=True, array_like=True):
    """Requests, tokens and micro-dollars a minute and a month (0: no limit), and new readings of shapes for each source
    and hour."""

    minute: tuple[int, int, int] = (0, 0, 0)
    month: tuple[int, int, int] = (0, 0, 0)
    shapes_an_hour: int = 0


class Reserve(msgspec.Struct, tag="reserve", omit_defaults=True):
    """A request is about to be made: at most so many tokens and micro-dollars. `source`: whose new shape it is;
    `claim`: what nobody else may ask about until it is released."""

    id: str
    purpose: Purpose
    tokens: int
    micro: int
    limits: Limits
    source: str = ""
    claim: str = ""


class Settle(msgspec.Struct, tag="settle"):
    """What the request did cost."""

    id: str
    tokens: int
    micro: int


class Release(msgspec.Struct, tag="release"):
    """What was claimed is done, or given up."""

    claim: str
    id: str


class Open(msgspec.Struct, array_like=True):
    """A reservation as the account holds it; `used` is in minute and month until it is settled."""

    purpose: Purpose
    month: str
    at_ms: int
    used: Amount


class Snapshot(msgspec.Struct, tag="snapshot"):
    """The account after the entry at offset `upto`, so that nobody has to read the log from its beginning."""

    upto: int
    at_ms: int
    month: str
    spent: dict[str, Amount]
    lately: list[tuple[str, Open]]
    unsettled: dict[str, Open]
    claims: dict[str, tuple[str, int]]
    sources: dict[str, list[int]]


Entry = Reserve | Settle | Release | Snapshot


class Granted(msgspec.Struct):
    """The request may be made."""

    id: str


class Refused(msgspec.Struct):
    """It may not: `limit` is `month requests`, `minute tokens`, `source` or `claimed`. `again_ms`: milliseconds until it is
    worth asking again, None if time does not help."""

    limit: str
    again_ms: int | None = None


class Account:
    """What the log says so far."""

    def __init__(self) -> None:
        self.at_ms = 0
        self.month = ""
        self.spent: dict[str, Amount] = {}
        self._lately: deque[tuple[str, Open]] = deque()
        self._minute: dict[str, Amount] = {}
        self._unsettled: dict[str, Open] = {}
        self._claims: dict[str, tuple[str, int]] = {}
        self._sources: dict[str, list[int]] = {}

    def apply(self, entry: Entry, at_ms: int) -> Granted | Refused | None:
        """Takes the next entry of the log, which the broker took at `at_ms` (milliseconds since 1970 UTC)."""
        self._advance(at_ms)
        if isinstance(entry, Reserve):
            return self._reserve(entry)
        if isinstance(entry, Settle):
            self._settle(entry)
        elif isinstance(entry, Release) and self._claims.get(entry.claim, ("",))[0] == entry.id:
            del self._claims[entry.claim]
        return None

    def claimed(self, claim: str) -> bool:
        """Whether somebody works on it."""
        return claim in self._claims

    def snapshot(self, upto: int) -> Snapshot:
        """The whole account."""
        return Snapshot(
            upto,
            self.at_ms,
            self.month,
            self.spent,
            list(self._lately),
            self._unsettled,
            self._claims,
            self._sources,
        )

    @classmethod
    def restored(cls, snapshot: Snapshot) -> Account:
        """The account of a snapshot."""
        made = cls()
        made.at_ms, made.month, made.spent = snapshot.at_ms, snapshot.month, snapshot.spent
        made._unsettled, made._claims, made._sources = snapshot.unsettled, snapshot.claims, snapshot.sources
        # One reservation is one object again, also where it is both recent and unsettled.
        made._lately = deque((name, made._unsettled.get(name, held)) for name, held in snapshot.lately)
        for _, held in made._lately:
            _add(made._minute, held.purpose, held.used)
        return made

    def _advance(self, at_ms: int) -> None:
        self.at_ms = max(self.at_ms, at_ms)
        month = datetime.fromtimestamp(self.at_ms / 1000, UTC).strftime("%Y-%m")
        if month != self.month:
            self.month, self.spent, self._unsettled = month, {}, {}
            self._drop_old_claims()
        while self._lately and self._lately[0][1].at_ms <= self.at_ms - MINUTE_MS:
            _, held = self._lately.popleft()
            _add(self._minute, held.purpose, [-used for used in held.used])

    def _reserve(self, wanted: Reserve) -> Granted | Refused:
        amount = [1, wanted.tokens, wanted.micro]
        refused = self._refused(wanted, amount)
        if refused is not None:
            return refused
        held = Open(wanted.purpose, self.month, self.at_ms, amount)
        self._unsettled[wanted.id] = held
        self._lately.append((wanted.id, held))
        _add(self.spent, wanted.purpose, amount)
        _add(self._minute, wanted.purpose, amount)
        if wanted.claim:
            self._claims[wanted.claim] = (wanted.id, self.at_ms)
            if len(self._claims) > _CLAIMS_LIMIT:
                self._drop_old_claims()
        if wanted.source:
            self._sources.setdefault(wanted.source, []).append(self.at_ms)
            if len(self._sources) > _SOURCES_LIMIT:
                self._sources = {name: times for name in self._sources if (times := self._hour(name))}
        return Granted(wanted.id)

    def _refused(self, wanted: Reserve, amount: Amount) -> Refused | None:
        if wanted.claim and (claim := self._claims.get(wanted.claim)) is not None:
            left = claim[1] + CLAIM_MS - self.at_ms
            if left > 0:
                return Refused("claimed", left)
        if wanted.source and wanted.limits.shapes_an_hour:
            times = self._sources[wanted.source] = self._hour(wanted.source)
            if len(times) >= wanted.limits.shapes_an_hour:
                return Refused("source", times[0] + HOUR_MS - self.at_ms)
        for at, unit in enumerate(UNITS):
            spent = {purpose: used[at] for purpose, used in self.spent.items()}
            if amount[at] > _room(wanted.limits.month[at], spent, wanted.purpose):
                return Refused(f"month {unit}")
        for at, unit in enumerate(UNITS):
            limit = wanted.limits.minute[at]
            lately = {purpose: used[at] for purpose, used in self._minute.items()}
            if amount[at] > _room(limit, {}, wanted.purpose):
                return Refused(f"minute {unit}")  # more than a whole minute allows: no waiting helps
            if amount[at] > _room(limit, lately, wanted.purpose):
                return Refused(f"minute {unit}", max(1, self._lately[0][1].at_ms + MINUTE_MS - self.at_ms))
        return None

    def _drop_old_claims(self) -> None:
        self._claims = {name: held for name, held in self._claims.items() if held[1] > self.at_ms - CLAIM_MS}

    def _hour(self, source: str) -> list[int]:
        return [at_ms for at_ms in self._sources.get(source, []) if at_ms > self.at_ms - HOUR_MS]

    def _settle(self, entry: Settle) -> None:
        held = self._unsettled.pop(entry.id, None)
        if held is None:
            return
        change = [0, entry.tokens - held.used[1], entry.micro - held.used[2]]
        held.used[1:] = [entry.tokens, entry.micro]
        if held.month == self.month:
            _add(self.spent, held.purpose, change)
        if held.at_ms > self.at_ms - MINUTE_MS:
            _add(self._minute, held.purpose, change)


def _add(sums: dict[str, Amount], purpose: str, amount: Amount) -> None:
    found = sums.setdefault(purpose, [0, 0, 0])
    for at, more in enumerate(amount):
        found[at] += more


def _room(limit: int, spent: dict[str, int], purpose: str) -> float:
    """How much of a limit is left for a purpose, without what is kept for others."""
    if not limit:
        return float("inf")
    kept = sum(
        max(0, int(share * limit) - spent.get(other, 0))
        for other, share in SHARES.items()
        if other != purpose
    )
    return limit - sum(spent.values()) - kept
