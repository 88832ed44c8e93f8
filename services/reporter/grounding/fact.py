"""A fact: one clause made by code from SQL, with the records that it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from services.reporter.escape import Trusted, visible

MOST_FACTS = 200
MOST_SAMPLES = 5


@dataclass(frozen=True)
class Fact:
    """`pieces` make the clause, without a full stop at its end; a piece of type `Trusted` is ours, any other came from
    events. `topics`: what a heading over it may name, of `words.TOPICS`. `value` is the number in it, None where there is none;
    `sql` the name of the query that counted it. `records` were counted, `records_hash` is the SHA-256 (hex) of their ids,
    sorted, eight bytes big-endian each; `samples` are at most five of them, as CHAIN:SEQ. A summary that leaves out
    what `must` be said gets it added by code."""

    id: str
    pieces: tuple[str, ...]
    topics: frozenset[str]
    sql: str
    value: int | None = None
    records: int = 0
    records_hash: str = ""
    samples: tuple[str, ...] = ()
    must: bool = False

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
        """For the document."""
        return {
            "id": self.id,
            "sentence": f"{self.clause}.",
            "topics": sorted(self.topics),
            "value": self.value,
            "sql": self.sql,
            "records": self.records,
            "records_sha256": self.records_hash,
            "samples": list(self.samples),
            "must": self.must,
        }


def numbered(facts: Sequence[Fact]) -> list[Fact]:
    """The facts with ids F1, F2, … in their order, MOST_FACTS at most."""
    return [replace(fact, id=f"F{at}") for at, fact in enumerate(facts[:MOST_FACTS], 1)]
