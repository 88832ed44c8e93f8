"""An auditor's sample of a period's events: drawn by a seed from what the period's report counts (sampling.py says how)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.common.errors import ConfigurationError
from services.reporter.contents.citing import label
from services.reporter.contents.selection import QUERIES, Selection
from services.reporter.evidence import Evidence
from services.reporter.period import Period
from services.reporter.sampling import ALGORITHM, Drawing, Drawn, Member
from services.reporter.store import Snapshot, translated

STRATA = ("risk", "source", "type", "actor")
NOT_CHOSEN = "not chosen by the operator: a seal that others vouch for, younger than the period"
OWN_SEAL = "a seal of the operator's own, younger than the period: nobody else vouches that it was not chosen"
GIVEN = "given by whoever asked"


@dataclass(frozen=True)
class Seed:
    """What a sample is drawn by, and what can be said of where it came from."""

    text: str
    origin: str


@dataclass(frozen=True)
class Sample:
    """The records drawn, of a population of so many; `sizes` and `places` by stratum."""

    seed: Seed
    by: tuple[str, ...]
    sizes: dict[tuple[str, ...], int]
    drawn: list[Drawn]

    @property
    def population(self) -> int:
        return sum(self.sizes.values())

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        places = Counter(one.member.stratum for one in self.drawn)
        return {
            "algorithm": ALGORITHM,
            "seed": self.seed.text,
            "seed_is": self.seed.origin,
            "population": self.population,
            "by": list(self.by),
            "strata": [
                {"stratum": list(name), "records": size, "drawn": places[name]}
                for name, size in sorted(self.sizes.items())
            ],
            "records": [
                {
                    "record": label(one.member.id),
                    "id": one.member.id,
                    "hash": one.member.record_hash.hex(),
                    "stratum": list(one.member.stratum),
                    "ticket": one.ticket,
                }
                for one in self.drawn
            ],
        }


async def find_seed(snapshot: Snapshot, period: Period, evidence: Evidence) -> Seed:
    """The root of the first seal after the period and its grace. Raises ConfigurationError where there is none yet."""
    with translated():
        row = await snapshot.connection.fetchrow(QUERIES["seal_after"], period.end_us + period.grace_us)
    if row is None:
        raise ConfigurationError(
            "no seal is younger than the period yet: give the auditor's own seed with --seed, or wait"
        )
    witnessed = evidence.witnessed
    vouched = [anchor for anchor in evidence.anchors if anchor.held is not None or anchor == witnessed]
    others = any(anchor.size > row["seal_no"] for anchor in vouched)
    return Seed(row["root"].hex(), NOT_CHOSEN if others else OWN_SEAL)


async def draw_sample(selection: Selection, seed: Seed, wanted: int, by: Sequence[str]) -> Sample:
    """Draws: the population is gone through twice, and is not held in memory. Raises ConfigurationError for an empty one."""
    sizes: Counter[tuple[str, ...]] = Counter()
    async for row in selection.stream("population", prefetch=5000):
        sizes[tuple(row[name] for name in by)] += 1
    if not sizes:
        raise ConfigurationError(
            f"no event is counted for {selection.period.label}: there is nothing to draw from"
        )
    drawing = Drawing(sizes, seed.text, wanted)
    async for row in selection.stream("population", prefetch=5000):
        drawing.take(Member(row["id"], row["record_hash"], tuple(row[name] for name in by)))
    return Sample(seed, tuple(by), dict(sizes), drawing.drawn())
