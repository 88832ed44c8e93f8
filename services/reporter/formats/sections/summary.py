"""The executive summary."""

from __future__ import annotations

from typing import Any

from services.reporter.formats.blocks import (
    Block,
    Code,
    Column,
    Listing,
    Ours,
    Paragraph,
    Prose,
    Section,
    Table,
    Text,
)
from services.reporter.formats.words import Object, cites, number, plural


def summary(document: Object) -> Section | None:
    """Its sentences with the records that they rest on, and who wrote it."""
    said = document.get("summary") or {}
    sentences = said.get("sentences") or []
    if not sentences:
        return None
    by_ai = said.get("by") not in (None, "rules")
    blocks: list[Block] = [Listing([_sentence(one, by_ai=by_ai) for one in sentences], numbered=True)]
    blocks.append(Paragraph(_origin(said), quiet=True))
    return Section("summary", Ours("Executive summary"), blocks)


def facts(document: Object) -> Section | None:
    """What the summary was made of: an annex, for whoever traces a sentence."""
    found = document.get("facts")
    return Section("facts", Ours("What the summary was made of"), [_facts(found)]) if found else None


def _facts(facts: list[Object]) -> Table:
    """What code counted, whether the summary tells it or not."""
    columns = [
        Column(Ours("Fact"), "text", 2.6),
        Column(Ours("Number"), "number", 0.8),
        Column(Ours("Records"), "number", 0.8),
        Column(Ours("First of them"), "text", 0.9),
        Column(Ours("Query"), "text", 1),
        Column(Ours("SHA-256 of their numbers"), "code", 2),
    ]
    rows: list[list[Text]] = [
        [
            [Prose(str(fact.get("sentence", "")))],
            [number(fact.get("value"))],
            _records(fact),
            cites(fact),
            [Code(str(fact.get("sql", "")))],
            [number(None) if fact.get("over") == "none" else Code(str(fact.get("records_sha256", "")))],
        ]
        for fact in facts
    ]
    caption: Text = [
        Ours("All "),
        plural(len(facts), "fact"),
        Ours(
            " that the summary could tell, with the records each was counted over, or some of them where it says examples; of a "
            "comparison, those of this period."
        ),
    ]
    return Table(caption, columns, rows, folded=True)


def _records(fact: Object) -> Text:
    """How many, and what they are where they are not all that was counted."""
    if fact.get("over") == "none":
        return [number(None)]
    if fact.get("over") == "examples":
        return [plural(int(fact.get("records") or 0), "example")]
    return [number(fact.get("records"))]


def _sentence(one: Object, *, by_ai: bool) -> Text:
    pieces: list[Any] = [Prose(str(one.get("text", "")))]
    if by_ai and one.get("by") == "rules":
        pieces.append(Ours(" (added by code)"))
    return [*pieces, *cites(one)]


def _origin(said: Object) -> Text:
    by, label = str(said.get("by") or "rules"), said.get("label")
    pieces: list[Any] = [Ours("Made by "), by, Ours(": "), str(label)] if label else [Ours("Made by "), by]
    survived = said.get("survived_percent")
    if survived is not None and by != "rules":
        pieces.append(Ours(f"; {survived:.0f} % of what it wrote withstood the check against facts"))
    return [
        *pieces,
        Ours(". In brackets stand records by chain and number; their hashes are in the last section."),
    ]
