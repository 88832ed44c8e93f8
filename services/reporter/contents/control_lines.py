"""What the records of the period show for the clauses of control frameworks (schemas/controls), one line a clause."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from typing import Any

from schemas.control_facts import Fact
from schemas.controls import NO_VERDICT, Controls, Line, load_controls
from services.reporter.contents.citing import cites
from services.reporter.figures import Figures

MOST_CITED = 3


def control_lines(figures: Figures, document: Mapping[str, Any]) -> dict[str, Any]:
    """`controls`, a line for each clause, and beside them `controls_note` (no verdict) and the version of the mapping. `document`
    holds the parts that were made before."""
    controls = _controls()
    tags = {item.key: item for item in figures.table("tag").figures}
    lines = controls.lines({tag: item.events for tag, item in tags.items()}, control_facts(figures, document))
    firsts = {tag: item.first_id for tag, item in tags.items()}
    return {
        "controls": [_as_json(line, firsts) for line in lines],
        "controls_note": NO_VERDICT,
        "controls_version": controls.version,
    }


@cache
def _controls() -> Controls:
    return load_controls()


def control_facts(figures: Figures, document: Mapping[str, Any]) -> dict[str, Fact]:
    """The facts that a report knows; what it does not know it leaves out."""
    listed, reviews, ai = document["listed"], document["reviews"], document["ai"]
    account, sequences = document["completeness"], figures.sequences
    events, named = figures.one("readable").events, figures.one("named").events
    told = figures.one("typed").events  # what was erased says of nobody whether he acted
    facts = {
        "actor": Fact(named, max(told - named, 0)),
        "sequenced": Fact(sequences.sources, sequences.missing_sources),
        "judged": Fact(events, figures.one("poison").events),
        "chained": Fact(account["chained"], abs(account["enriched"] - account["chained"])),
        "alerted": Fact(listed["alerts"]["of"]),
        "outage": Fact(listed["outages"]["of"], listed["outages"]["of"]),
        "reviewed": Fact(reviews["reviewed"], reviews["open"]),
        "reported": Fact(listed["editions"]["of"]),
        "signed": Fact(listed["signatures"]["of"]),
        "read": Fact(listed["reads"]["of"], listed["unfinished_reads"]["of"]),
        "retained": Fact(listed["retentions"]["of"]),
        "erased": Fact(listed["erasures"]["of"], figures.one("unchecked").events),
        "restored": Fact(listed["restores"]["of"]),
        "ai_recorded": Fact(ai["read"]["events"]),
        "ai_redacted": Fact(ai["requests"]),
        "withdrawn": Fact(ai["withdrawn_by_review"]["events"]),
    }
    return facts | _of_verification(document)


def _of_verification(document: Mapping[str, Any]) -> dict[str, Fact]:
    """What the verification before this report, the cut and the last drill say."""
    found = {}
    good = document["integrity"].get("good")
    if isinstance(good, bool):
        found["verified"] = Fact(1, 0 if good else 1)
    if document["cut"]["seal_no"] is not None:
        found["sealed"] = Fact(sum(chain["size"] for chain in document["cut"]["chains"]))
    drill = document["drill"]
    if drill is not None:
        attacks, detected = drill["attacks"] or 0, drill["detected"] or 0
        found["drilled"] = Fact(attacks, max(attacks - detected, 0))
    return found


def _as_json(line: Line, firsts: Mapping[str, int | None]) -> dict[str, Any]:
    counted = [*line.tags, *line.exceptions]
    return line._asdict() | {
        "checked": line.checked.isoformat(),
        "facts": {name: asdict(fact) for name, fact in line.facts.items()},
        "cites": cites(*(firsts.get(tag) for tag in counted))[:MOST_CITED],
    }
