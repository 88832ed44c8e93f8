"""The account of what a model may cost: a fold over one log, the same for everybody who reads it. Pure.

Every process that asks a model appends what it wants to the topic audit.ai-budget, and reads the topic up to there. Whether
it may follows from all that stands before in the log: the log is the one owner of the counter, so N processes never
exceed a limit, and a crash leaves a reservation that stays spent. Time is the broker's.

Limits are kept for a sliding minute and for the month (UTC), in requests, tokens and micro-dollars. Of each, 10 % are kept
for executive summaries and 20 % for events of high risk: others cannot use that part.

Anybody who may send events may make up sources. So each source has its quota of new shapes an hour, and sources of about the
same age (less than a day, two, four, eight …) have one together: who makes up sources today takes from those that are new today, and
from none that was here before.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Literal

import msgspec

Purpose = Literal["summary", "high", "event", "shape"]
SHARES: dict[str, float] = {"summary": 0.1, "high": 0.2}
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
CLAIM_MS = 10 * 60_000
"""After this a claim is nobody's: whoever held it has crashed."""
DAY_MS = 24 * HOUR_MS
_FORGOTTEN_MS = 30 * DAY_MS
_SOURCES_LIMIT, _CLAIMS_LIMIT = 5_000, 2_000
Amount = list[int]
"""Requests, tokens, micro-dollars."""
UNITS = ("requests", "tokens", "dollars")


class Limits(msgspec.Struct, frozen=True, array_like=True):
    """Requests, tokens and micro-dollars a minute and a month (0: no limit), and new readings of shapes an hour for each
    source, and for all sources of about one age together."""

    minute: tuple[int, int, int] = (0, 0, 0)
    month: tuple[int, int, int] = (0, 0, 0)
    shapes_an_hour: int = 0
    shapes_together: int = 0


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
    ages: dict[str, tuple[int, int]] = {}
    together: dict[int, list[int]] = {}


Entry = Reserve | Settle | Release | Snapshot


class Granted(msgspec.Struct):
    """The request may be made."""

    id: str


class Refused(msgspec.Struct):
    """It may not: `limit` is `month requests`, `minute tokens`, `source`, `sources` (of its age) or `claimed`. `again_ms`:
    milliseconds until it is worth asking again, None if time does not help."""

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
        self._ages: dict[str, tuple[int, int]] = {}
        self._together: dict[int, list[int]] = {}

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

    def age(self, source: str, now_ms: int = 0) -> int:
        """For how long a source has had new shapes: 0 less than a day, 1 less than two, 2 less than four, and so on; by the
        log's time, or by `now_ms` where that is later."""
        known = self._ages.get(_short(source))
        return 0 if known is None else ((max(self.at_ms, now_ms) - known[0]) // DAY_MS).bit_length()

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
            self._ages,
            self._together,
        )

    @classmethod
    def restored(cls, snapshot: Snapshot) -> Account:
        """The account of a snapshot."""
        made = cls()
        made.at_ms, made.month, made.spent = snapshot.at_ms, snapshot.month, snapshot.spent
        made._unsettled, made._claims, made._sources = snapshot.unsettled, snapshot.claims, snapshot.sources
        made._ages, made._together = snapshot.ages, snapshot.together
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
            self._note_source(wanted.source)
        return Granted(wanted.id)

    def _note_source(self, source: str) -> None:
        """Both tables are in the order of the last asking, so what is to be forgotten stands first."""
        name, at_ms = _short(source), self.at_ms
        self._together.setdefault(self.age(source), []).append(at_ms)
        self._sources[name] = [*self._hour(self._sources.pop(name, [])), at_ms]
        if len(self._sources) > _SOURCES_LIMIT:
            del self._sources[next(iter(self._sources))]
        known = self._ages.pop(name, None)
        if len(self._ages) >= _SOURCES_LIMIT:
            first = next(iter(self._ages))
            if self._ages[first][1] > at_ms - _FORGOTTEN_MS:
                return  # full of sources that are in use: who is new stays new
            del self._ages[first]
        self._ages[name] = (at_ms if known is None else known[0], at_ms)

    def _refused(self, wanted: Reserve, amount: Amount) -> Refused | None:
        if wanted.claim and (claim := self._claims.get(wanted.claim)) is not None:
            left = claim[1] + CLAIM_MS - self.at_ms
            if left > 0:
                return Refused("claimed", left)
        if wanted.source and (refused := self._source_refused(wanted)) is not None:
            return refused
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

    def _source_refused(self, wanted: Reserve) -> Refused | None:
        times = self._hour(self._sources.get(_short(wanted.source), []))
        if 0 < wanted.limits.shapes_an_hour <= len(times):
            return Refused("source", times[0] + HOUR_MS - self.at_ms)
        age = self.age(wanted.source)
        together = self._together[age] = self._hour(self._together.get(age, []))
        if 0 < wanted.limits.shapes_together <= len(together):
            return Refused("sources", together[0] + HOUR_MS - self.at_ms)
        return None

    def _drop_old_claims(self) -> None:
        self._claims = {name: held for name, held in self._claims.items() if held[1] > self.at_ms - CLAIM_MS}

    def _hour(self, times: list[int]) -> list[int]:
        return [at_ms for at_ms in times if at_ms > self.at_ms - HOUR_MS]

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


def _short(source: str) -> str:
    """A source's name of fixed length: a snapshot with thousands of them is one message."""
    return blake2b(source.encode("utf-8", "replace"), digest_size=6).hexdigest()


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
