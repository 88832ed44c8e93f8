"""The executive summary."""

from __future__ import annotations

from typing import Any

from services.reporter.formats.blocks import Block, Listing, Ours, Paragraph, Prose, Section, Text
from services.reporter.formats.words import Object, cites


def summary(document: Object) -> Section | None:
    """Its sentences with the records that they rest on, and who wrote it."""
    said = document.get("summary") or {}
    sentences = said.get("sentences") or []
    if not sentences:
        return None
    blocks: list[Block] = [Listing([_sentence(one) for one in sentences], numbered=True)]
    blocks.append(Paragraph(_origin(said), quiet=True))
    return Section("summary", Ours("Executive summary"), blocks)


def _sentence(one: Object) -> Text:
    pieces: list[Any] = [Prose(str(one.get("text", "")))]
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
