"""A fact: one clause made by code from SQL, with the records that it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from services.reporter.escape import Trusted, visible

MOST_FACTS = 200
MOST_SAMPLES = 5
ALL, THIS_PERIOD, EXAMPLES, NONE = "all", "this-period", "examples", "none"
"""What a fact's records are: all that it was counted over; of a comparison those of this period; some of them; or there are none to name."""


class Basis(NamedTuple):
    """Records that a fact rests on: how many, the SHA-256 (hex) of their numbers (chain and seq in one bigint, as
    audit_events.id), sorted, eight bytes big-endian each, and the first five."""

    records: int
    sha256: str
    samples: tuple[int, ...]


@dataclass(frozen=True)
class Fact:
    """`pieces` make the clause, without a full stop at its end; a piece of type `Trusted` is ours, any other came from
    events. `id` is the same in every report. `topics`: what a heading over it may name, of `words.TOPICS`. `value` is the number
    that it tells, None where there is none; `sql` the name of the query that counted it, `over` what its records are. A summary that leaves out what
    `must` be said gets it added by code."""

    id: str
    pieces: tuple[str, ...]
    topics: frozenset[str]
    sql: str
    basis: Basis
    value: int | None = None
    must: bool = False
    over: str = ALL

    @property
    def clause(self) -> str:
        """In one line, hidden characters shown; what came from events stands in quotes."""
        return "".join(
            piece if isinstance(piece, Trusted) else f"“{visible(piece)}”" for piece in self.pieces
        )

    def for_model(self) -> str:
        """The clause as a prompt may hold it: nothing that came from an event, a stand-in for each such piece."""
        named = 0
        said = []
        for piece in self.pieces:
            named += not isinstance(piece, Trusted)
            said.append(piece if isinstance(piece, Trusted) else f"[name_{named}]")
        return "".join(said)

    def as_json(self) -> dict[str, Any]:
        """For the document; `cites` are records by number."""
        return {
            "id": self.id,
            "sentence": f"{self.clause}.",
            "topics": sorted(self.topics),
            "value": self.value,
            "sql": self.sql,
            "over": self.over,
            "records": self.basis.records,
            "records_sha256": self.basis.sha256,
            "must": self.must,
            "cites": list(self.basis.samples),
        }
