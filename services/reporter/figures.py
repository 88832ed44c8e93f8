"""The numbers of a report, all of them from SQL."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from schemas.enrichment import RISKS
from schemas.record import Kind
from services.reporter.contents.selection import Selection

MOST_KEYS = 20
"""Rows of a table by type, source, actor, …: the most frequent."""
MOST_TAGS = 5_000
"""Tags that are counted for the control mapping; a table shows the first MOST_KEYS."""
MOST_NEW = 50
"""New actors, types, sources that are named."""
MOST_GAPS = 10
"""Gaps in one source's sequence that are named."""


class Figure(NamedTuple):
    """A count: of `events`, `high` have high or critical risk; `share` of all events in percent; `first_id` is the
    first record that was counted, None where none was."""

    key: str
    events: int
    high: int = 0
    share: Decimal | None = None
    first_id: int | None = None


class Table(NamedTuple):
    """Figures by key, the most frequent first, and how many keys there are in all."""

    figures: list[Figure]
    keys: int

    @property
    def shown(self) -> int:
        return len(self.figures)


class Citation(NamedTuple):
    """A record that a sentence or a row rests on."""

    chain_no: int
    seq: int
    record_hash: str
    appended_at: datetime
    kind: int

    @property
    def label(self) -> str:
        return f"{self.chain_no}:{self.seq}"


class Hit(NamedTuple):
    """A rule that fired."""

    id: str
    title: str
    level: str


class SequenceGaps(NamedTuple):
    """What is missing in the sequence of a source (its id in hex where the name is erased): how many numbers, in how many
    gaps, the first of these in words, and the record of the number before the first."""

    source: str
    missing: int
    gaps: int
    numbers: str
    first_id: int


@dataclass(frozen=True)
class Event:
    """An event of high risk, as the page shows it. All texts are the event's or a model's: untrusted."""

    id: int
    event_time: datetime
    event_type: str
    source: str
    summary: str
    by: str
    risk: str
    risk_ai: str | None
    risk_floor: str
    tags: list[str]
    who: dict[str, str]
    rules: list[Hit]

    @property
    def told(self) -> list[tuple[str, str]]:
        """Who did it, on what, from where, how it came out, each with a word before it; what repeats the type is not."""
        words = {"actor": "by", "action": "did", "resource": "on", "origin": "from", "outcome": "outcome"}
        return [
            (words[name], text)
            for name, text in self.who.items()
            if name != "action" or not self.event_type.endswith(text)
        ]


@dataclass(frozen=True)
class Sequences:
    """Sources that number their events: how many, and the numbers from the lowest to the highest of each in the period; those
    that are in no record, and the sources concerned; the worst of these."""

    sources: int = 0
    numbers: int = 0
    missing: int = 0
    missing_sources: int = 0
    gaps: list[SequenceGaps] = field(default_factory=list)


@dataclass(frozen=True)
class Figures:
    """Everything that a report counts."""

    single: dict[str, Figure]
    """`all`, `readable`, `poison`, `pending`, `ai`, `erased`, `typed` (those of a type: `readable` but what was erased), `named` (those
    that name an actor); `unchecked`, which are no events but repeats of erased ones."""
    tables: dict[str, Table]
    """`day`, `type`, `source`, `actor`, `risk`, `by`, `tag`, `noticed`, `rule`, `catalogue`, `late`, `judged`, `new-type`, `new-source`, `new-actor`."""
    own: dict[int, Figure]
    """Records that are no events, by kind; those of our own topics that are repeats or unreadable are in `ours`."""
    high_risk: list[Event]
    unreadable: list[dict[str, Any]]
    citations: dict[int, Citation] = field(default_factory=dict)
    gaps: list[SequenceGaps] = field(default_factory=list)
    sequences: Sequences = Sequences()
    ours: dict[int, Figure] = field(default_factory=dict)
    """Repeats and unreadable messages on our own topics, by kind. The latter are among `all` and `poison` too."""

    def one(self, name: str) -> Figure:
        return self.single.get(name, Figure("", 0))

    def table(self, name: str) -> Table:
        return self.tables.get(name, Table([], 0))

    def kind(self, kind: Kind) -> Figure:
        return self.own.get(kind, Figure(kind.name, 0))


SINGLE = ("all", "readable", "poison", "pending", "ai", "erased", "typed", "named")


async def read_figures(selection: Selection) -> Figures:
    """Counts the events of a selection; lists of events are not among it."""
    rows = await selection.fetch("counts", selection.period.day_starts_us, MOST_KEYS, MOST_NEW, MOST_TAGS)
    single = {row["figure"]: _figure(row) for row in rows if row["figure"] in SINGLE}
    tables: dict[str, Table] = {}
    for row in rows:
        if row["figure"] not in SINGLE:
            table = tables.setdefault(row["figure"], Table([], row["keys"]))
            table.figures.append(_figure(row))
    if "day" in tables:
        tables["day"] = _by_day(selection, tables["day"])
    if "risk" in tables:
        tables["risk"].figures.sort(key=lambda figure: (*RISKS, figure.key).index(figure.key), reverse=True)
    others = await selection.fetch("other_kinds")
    own, ours = (
        {
            row["kind"]: Figure("", row["records"], 0, None, row["first_id"])
            for row in others
            if row["ours"] == mine
        }
        for mine in (False, True)
    )
    single["unchecked"] = _unchecked(others)
    sequences = await _sequences(selection)
    return Figures(single, tables, own, [], [], gaps=sequences.gaps, sequences=sequences, ours=ours)


def _unchecked(rows: list[Any]) -> Figure:
    """Each of them may be another event than the one it repeats: so all count as high (design 2.8)."""
    count = sum(row["unchecked"] for row in rows)
    first = min((row["first_unchecked"] for row in rows if row["unchecked"]), default=None)
    return Figure("", count, count, None, first)


def _by_day(selection: Selection, table: Table) -> Table:
    """The days by their date instead of their place in the period, in order."""
    dates = selection.period.dates
    figures = [figure._replace(key=dates[int(figure.key) - 1].isoformat()) for figure in table.figures]
    return Table(sorted(figures), table.keys)


def _figure(row: Any) -> Figure:
    return Figure(row["key"] or "", row["events"], row["high"], row["share"], row["first_id"])


async def _sequences(selection: Selection) -> Sequences:
    rows = await selection.fetch("gaps", MOST_KEYS, MOST_GAPS)
    if not rows:
        return Sequences()
    first = rows[0]
    return Sequences(
        first["all_sources"],
        int(first["all_numbers"]),
        int(first["all_missing"]),
        first["all_missing_sources"],
        [_gaps(row) for row in rows if row["missing"]],
    )


def _gaps(row: Any) -> SequenceGaps:
    named = [
        f"{first}" if first == last else f"{first}-{last}"
        for first, last in zip(row["firsts"], row["lasts"], strict=True)
    ]
    left = row["gaps"] - len(named)
    words = ", ".join(named) + (f" and {left:,} gaps more" if left else "")
    return SequenceGaps(row["source"] or row["producer"], int(row["missing"]), row["gaps"], words, row["id"])


def read_hits(raw: str | None) -> list[Hit]:
    """The rules in an enrichment; what has not that form is left out, since a report is made of any record."""
    try:
        found = json.loads(raw or "[]")
    except ValueError:
        return []
    hits = found if isinstance(found, list) else []
    return [
        Hit(str(hit.get("id", "")), str(hit.get("title", "")), str(hit.get("level", "")))
        for hit in hits
        if isinstance(hit, dict)
    ]
