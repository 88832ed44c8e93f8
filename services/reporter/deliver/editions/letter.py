"""The letter that goes with an edition: verdict, period, five figures and what is open, from the report's own first page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import escape

from services.reporter.deliver.editions.parcel import Letter
from services.reporter.escape import visible
from services.reporter.formats.blocks import Facts, Heading, Listing, Piece, Signatures, Text, Tiles, Verdict
from services.reporter.formats.page import page_of

_STYLE = "font-family:system-ui,sans-serif;line-height:1.5;max-width:42rem"


def letter_of(document: Mapping[str, Any], sha256: str) -> Letter:
    """For a document as the recipient may see it; `sha256`: that of the edition."""
    edition = str(document["edition"]["id"])
    good = bool(document["integrity"].get("good"))
    paragraphs = _paragraphs(document, sha256)
    text = "\n\n".join("\n".join(lines) for lines in paragraphs)
    html = "".join(_html(lines) for lines in paragraphs)
    return Letter(
        f"Report {edition}: {'verified' if good else 'NOT VERIFIED, do not rely on it before reading why'}",
        f"{text}\n",
        f'<!doctype html><meta charset="utf-8"><body style="{_STYLE}">{html}</body>',
        _facts(document, sha256),
    )


def notice(subject: str, text: str) -> Letter:
    """A letter of a few words: an alarm, a test."""
    return Letter(subject, text, None, {"subject": subject, "text": text})


def _paragraphs(document: Mapping[str, Any], sha256: str) -> list[list[str]]:
    """Paragraphs as lines, the first of each a heading."""
    made: list[list[str]] = []
    for block in page_of(document).cover:
        if isinstance(block, Verdict):
            made.append([str(block.title), *map(str, block.sentences)])
        elif isinstance(block, Facts):
            made.append(["About this report", *(f"{name}: {_plain(text)}" for name, text in block.rows)])
        elif isinstance(block, Tiles):
            made.append(["In figures", *(f"{number} {what}" for number, what in block.tiles)])
        elif isinstance(block, Heading):
            made.append([str(block.text)])
        elif isinstance(block, Listing):
            made[-1] += [_plain(item) for item in block.items]
        elif isinstance(block, Signatures):
            made[-1] += [f"Hash of this edition (SHA-256): {sha256}"]
            if block.copy:
                made[-1] += [f"Hash of this copy of it ({block.detail}): {block.copy}"]
    return made


def _plain(text: Text) -> str:
    return "".join(_piece(piece) for piece in text)


def _piece(piece: Piece) -> str:
    if isinstance(piece, str):
        return visible(piece)
    return visible(str(getattr(piece, "text", None) or getattr(piece, "record", "")))


def _html(lines: Sequence[str]) -> str:
    heading, *rest = (str(escape(line)) for line in lines)
    return f"<h2 style='font-size:1rem'>{heading}</h2><p>{'<br>'.join(rest)}</p>"


def _facts(document: Mapping[str, Any], sha256: str) -> dict[str, Any]:
    integrity, period = document["integrity"], document["period"]
    return {
        "edition": document["edition"]["id"],
        "sha256": sha256,
        "period": {name: period[name] for name in ("label", "start", "end", "time_zone")},
        "good": bool(integrity.get("good")),
        "verdict": integrity.get("verdict"),
        "figures": [
            {"number": str(number), "what": str(what)}
            for block in page_of(document).cover
            if isinstance(block, Tiles)
            for number, what in block.tiles
        ],
    }
