"""What a report's page is made of, the same for every format: sections of a few kinds of blocks, and pieces of text.

A piece of text is `Ours` where our own code made it and nothing from an event, an AI or a user stands in it; a plain str is
anybody's, and every format writes it so that it cannot be more than text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from services.reporter.escape import Trusted as Ours


class Prose(NamedTuple):
    """A sentence of anybody's: for formats that would else mark each text that is not ours."""

    text: str


class Strong(NamedTuple):
    """Stressed; `text` may be anybody's."""

    text: str


class Cite(NamedTuple):
    """A record, as chain and number: `3:17`."""

    record: str


class Code(NamedTuple):
    """A hash, a name of a field: in the type of a machine."""

    text: str


class Mark(NamedTuple):
    """A state: a sign, a word and a tone, so that none of them stands alone."""

    tone: Literal["good", "bad", "grave", "warn", "plain"]
    text: str

    @property
    def sign(self) -> str:
        return {"good": "✓", "bad": "✕", "grave": "▲", "warn": "!", "plain": "•"}[self.tone]


Piece = str | Prose | Strong | Cite | Code | Mark
Text = Sequence[Piece]


@dataclass(frozen=True)
class Heading:
    """Of a part of a section."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """`quiet`: a remark."""

    text: Text
    quiet: bool = False


@dataclass(frozen=True)
class Facts:
    """Names and what they are."""

    rows: list[tuple[str, Text]]


@dataclass(frozen=True)
class Tiles:
    """A few great numbers with a word each."""

    tiles: list[tuple[str, str]]


@dataclass(frozen=True)
class Verdict:
    """What the verification says, first."""

    tone: Literal["good", "bad", "warn"]
    title: str
    sentences: Sequence[str]


@dataclass(frozen=True)
class Listing:
    """Sentences one below the other; `numbered` where they are referred to."""

    items: list[Text]
    numbered: bool = False


class Column(NamedTuple):
    """`wide`: how much room it wants against the others."""

    heading: str
    kind: Literal["text", "number", "time", "code"] = "text"
    wide: float = 1.0


@dataclass(frozen=True)
class Table:
    """Rows of cells, the first cell naming the row. `shares`: for each row a part of one, drawn as a bar beside it."""

    caption: Text
    columns: list[Column]
    rows: list[list[Text]]
    shares: list[float] | None = None
    anchors: list[str] | None = None
    """Names by which citations find the rows."""
    folded: bool = False
    """The numbers behind a chart: to be opened on a page, always there in print."""


class Bar(NamedTuple):
    """One bar of a chart; `grave` of its `events` are of high risk."""

    label: str
    events: int
    grave: int = 0


@dataclass(frozen=True)
class Chart:
    """Bars by day. `description` says in words what is seen; a table with the numbers always follows."""

    title: str
    description: str
    bars: list[Bar]


@dataclass(frozen=True)
class Signatures:
    """Where people sign: signatures on record, and room for more. `edition` is the hash that is signed, `copy` that of the
    document in this file where it is a copy with less `detail`."""

    edition: str
    signed: list[list[Text]]
    copy: str | None = None
    detail: str = ""


Block = Heading | Paragraph | Facts | Tiles | Verdict | Listing | Table | Chart | Signatures


@dataclass(frozen=True)
class Section:
    """`name` is its anchor."""

    name: str
    title: str
    blocks: list[Block]


@dataclass(frozen=True)
class Page:
    """A report as it is shown. `cover` fills the first page; `foot` stands on every page of print."""

    title: str
    kicker: str
    language: str
    good: bool
    foot: str
    cover: list[Block]
    sections: list[Section] = field(default_factory=list)


__all__ = [
    "Bar", "Block", "Chart", "Cite", "Code", "Column", "Facts", "Heading", "Listing", "Mark", "Ours", "Page", "Paragraph",
    "Piece", "Prose", "Section", "Signatures", "Strong", "Table", "Text", "Tiles", "Verdict",
]  # fmt: skip
