"""Facts: what is known about a period beside the tags of its events, each a count and how many of it went wrong. Pure.

The first group is told by events, the second is done by Piperoll and recorded. The report counts them, the files in
controls/ map them to clauses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Fact:
    """How often something was so in a period, and how often not as it should be."""

    count: int
    exceptions: int = 0


class FactWords(NamedTuple):
    """How a fact is said: `shows` before the count, `lacks` before the exceptions (None: it has none). Where `grave`, an
    exception of the fact is one of the clause; else it is only said."""

    shows: str
    lacks: str | None = None
    grave: bool = True


FACTS: dict[str, FactWords] = {
    "actor": FactWords("Events that say who acted", "that do not", grave=False),
    "action": FactWords("Events that say what was done", "that do not", grave=False),
    "resource": FactWords("Events that say on what", "that do not", grave=False),
    "origin": FactWords("Events that say from where", "that do not", grave=False),
    "outcome": FactWords("Events that say how it came out", "that do not", grave=False),
    "time": FactWords("Events with a time of their own", "without", grave=False),
    "clock": FactWords("Events whose time fits that of their arrival", "too far off"),
    "sequenced": FactWords("Sources whose sequence numbers were followed", "with numbers missing"),
    "judged": FactWords("Events judged by rules", "that could not be read"),
    "chained": FactWords("Records linked into a chain", "offsets without a record"),
    "sealed": FactWords("Records under a signed checkpoint", "under none yet", grave=False),
    "anchored": FactWords(
        "Checkpoints with copies, cosignatures or timestamps outside", "without", grave=False
    ),
    "verified": FactWords("Verifications of the log", "that found it damaged or did not end"),
    "drilled": FactWords("Trials whether changed records are found", "that were not found"),
    "alerted": FactWords("Alerts raised", "not delivered"),
    "outage": FactWords("Failures of logging that were found", "not explained by a review"),
    "reviewed": FactWords("Events of high risk that somebody reviewed", "still open"),
    "reported": FactWords("Reports made", "late or not delivered"),
    "signed": FactWords("Reports signed by a person"),
    "sampled": FactWords("Samples drawn by a seed, with the size of the population"),
    "read": FactWords(
        "Reads of the log that were recorded (exports, proofs, reports)",
        "begun, without an outcome on record",
        grave=False,
    ),
    "archived": FactWords("Months archived outside the database"),
    "retained": FactWords("Removals by an order that is on record", "payloads gone without one"),
    "erased": FactWords(
        "Erasures, each with reason and person", "repeats of erased events that could not be compared"
    ),
    "restored": FactWords("Records restored with proof that they are the same bytes"),
    "ai_recorded": FactWords("Readings by AI, with model and version of the prompt"),
    "ai_redacted": FactWords("Requests to a model, personal data taken out first"),
    "withdrawn": FactWords("Judgements of AI that a person withdrew"),
}
"""Every fact there is. One that a report does not know it leaves out."""


def fact_sentence(name: str, fact: Fact) -> str:
    """A fact in words: `Alerts raised: 3; not delivered: 1`."""
    words = FACTS[name]
    text = f"{words.shows}: {fact.count:,}"
    return (
        text if words.lacks is None or not fact.exceptions else f"{text}; {words.lacks}: {fact.exceptions:,}"
    )
