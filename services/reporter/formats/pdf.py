"""The report as PDF/A-3a and PDF/UA-1 by typst, with its evidence attached.

Values go in as data alone (sys.inputs, JSON), never as source of the template. Typst refuses to make a PDF/A of characters
that its fonts cannot draw, so those are written as their numbers before.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import typst

from services.reporter.charts import PRINTED, day_chart
from services.reporter.escape import visible
from services.reporter.formats.blocks import Chart, Cite, Code, Mark, Page, Prose, Strong

_TEMPLATE = Path(__file__).parent / "templates" / "report.typ"
_DRAWABLE = Path(__file__).with_name("drawable.json")
_STANDARDS: list[Literal["a-3a", "ua-1"]] = ["a-3a", "ua-1"]


class Attached(NamedTuple):
    """A file inside the PDF."""

    name: str
    data: bytes
    media_type: str
    about: str
    relation: str = "data"


def render_pdf(page: Page, made: str, attached: Sequence[Attached]) -> bytes:
    """`made`: the document's date (ISO 8601). The same input gives the same bytes."""
    inputs = {
        "page": json.dumps(_plain(page)),
        "made": json.dumps(_date(made)),
        "attached": json.dumps([[one.name, one.media_type, one.about, one.relation] for one in attached]),
    }
    inputs |= {f"file-{at}": one.data.decode("utf-8") for at, one in enumerate(attached)}
    compiler = typst.Compiler(
        _TEMPLATE.read_bytes(), root=str(_TEMPLATE.parent), ignore_system_fonts=True, sys_inputs=inputs
    )
    pdf = compiler.compile(format="pdf", pdf_standards=[*_STANDARDS])
    if not isinstance(pdf, bytes):
        raise TypeError("typst gave no bytes")
    return pdf


def _date(made: str) -> list[int]:
    moment = datetime.fromisoformat(made).astimezone(UTC)
    return [moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second]


@cache
def drawable() -> frozenset[int]:
    """Code points that the fonts of typst can draw from left to right."""
    spans: list[list[int]] = json.loads(_DRAWABLE.read_text(encoding="ascii"))
    return frozenset(point for first, last in spans for point in range(first, last + 1))


def drawn(text: str) -> str:
    """`text` in characters that the fonts have; any other is written as [U+4E2D]."""
    shown = visible(text)
    if shown.isascii():
        return shown
    known = drawable()
    return "".join(letter if ord(letter) in known else f"[U+{ord(letter):04X}]" for letter in shown)


def _plain(value: Any) -> Any:  # noqa: PLR0911 - a case for each kind
    """Blocks and pieces as JSON: an object with `kind` for each, every text one that can be drawn."""
    match value:
        case str():
            return drawn(value)
        case Prose(text):
            return drawn(text)
        case Strong(text) | Code(text):
            return {"kind": type(value).__name__.lower(), "text": drawn(text)}
        case Mark(tone, text):
            return {"kind": "mark", "tone": tone, "sign": value.sign, "text": drawn(text)}
        case Cite(record):
            return {"kind": "cite", "text": record, "label": f"r-{record.replace(':', '-')}"}
        case Chart():
            svg = str(day_chart(value.bars, drawn(value.description), PRINTED))
            return {"kind": "Chart", "title": drawn(value.title), "alt": drawn(value.description), "svg": svg}
    return _plain_parts(value)


def _plain_parts(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        plain = {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
        return {"kind": type(value).__name__} | plain
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _plain(one) for name, one in value._asdict().items()}
    return [_plain(one) for one in value] if isinstance(value, Sequence) else value
