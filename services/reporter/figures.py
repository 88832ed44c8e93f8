"""The numbers of a report, all of them from SQL."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from schemas.enrichment import RISKS
from schemas.record import Kind
from services.reporter.period import Period
from services.reporter.store import Snapshot

MOST_KEYS = 20
"""Rows of a table by type, source, actor, …: the most frequent."""
MOST_HIGH_RISK = 100
MOST_UNREADABLE = 20
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
class Figures:
    """Everything that a report counts or lists."""

    single: dict[str, Figure]
    """`all`, `readable`, `poison`, `pending`, `ai`; `unchecked`, which are no events but repeats of erased ones."""
    tables: dict[str, Table]
    """`day`, `type`, `source`, `actor`, `risk`, `by`, `tag`, `noticed`, `rule`, `catalogue`."""
    own: dict[int, Figure]
    """Records that are no events, by kind."""
    high_risk: list[Event]
    unreadable: list[dict[str, Any]]
    citations: dict[int, Citation] = field(default_factory=dict)
    gaps: list[SequenceGaps] = field(default_factory=list)

    def one(self, name: str) -> Figure:
        return self.single.get(name, Figure("", 0))

    def table(self, name: str) -> Table:
        return self.tables.get(name, Table([], 0))

    def kind(self, kind: Kind) -> Figure:
        return self.own.get(kind, Figure(kind.name, 0))


GRAVE = "grave"
SINGLE = ("all", "readable", "poison", "pending", "ai")


async def read_figures(snapshot: Snapshot, period: Period) -> Figures:
    """Asks for all figures of a period."""
    selection = (period.rule, period.start, period.end)
    rows = await snapshot.fetch("figures", *selection, MOST_KEYS, MOST_HIGH_RISK)
    grave = [row["first_id"] for row in rows if row["figure"] == GRAVE]
    single = {row["figure"]: _figure(row) for row in rows if row["figure"] in SINGLE}
    single["unchecked"] = await _unchecked(snapshot, selection)
    tables: dict[str, Table] = {}
    for row in rows:
        if row["figure"] not in (*SINGLE, GRAVE):
            table = tables.setdefault(row["figure"], Table([], row["keys"]))
            table.figures.append(_figure(row))
    if "day" in tables:
        tables["day"].figures.sort()
    if "risk" in tables:
        tables["risk"].figures.sort(key=lambda figure: (*RISKS, figure.key).index(figure.key), reverse=True)
    own = {
        row["kind"]: Figure("", row["records"], 0, None, row["first_id"])
        for row in await snapshot.fetch("own_kinds", *selection)
    }
    high_risk = [_event(row) for row in await snapshot.fetch("events", grave)]
    unreadable = [dict(row) for row in await snapshot.fetch("unreadable", *selection, MOST_UNREADABLE)]
    gaps = [_gaps(row) for row in await snapshot.fetch("sequence_gaps", *selection, MOST_KEYS, MOST_GAPS)]
    figures = Figures(single, tables, own, high_risk, unreadable, gaps=gaps)
    figures.citations.update(await _citations(snapshot, _cited(figures)))
    return figures


async def _unchecked(snapshot: Snapshot, selection: tuple[Any, ...]) -> Figure:
    """Each of them may be another event than the one it repeats: so all count as high (design 2.8)."""
    (row,) = await snapshot.fetch("unchecked", *selection)
    return Figure("", row["events"], row["events"], None, row["first_id"])


def _figure(row: Any) -> Figure:
    return Figure(row["key"] or "", row["events"], row["high"], row["share"], row["first_id"])


def _gaps(row: Any) -> SequenceGaps:
    named = [
        f"{first}" if first == last else f"{first}-{last}"
        for first, last in zip(row["firsts"], row["lasts"], strict=True)
    ]
    left = row["gaps"] - len(named)
    words = ", ".join(named) + (f" and {left:,} gaps more" if left else "")
    return SequenceGaps(row["source"] or row["producer"], int(row["missing"]), row["gaps"], words, row["id"])


def _event(row: Any) -> Event:
    return Event(
        row["id"],
        row["event_time"],
        row["event_type"],
        row["source"] or "",
        row["ai_summary"] or "",
        row["summary_by"] or "rules",
        row["risk"],
        row["risk_ai"],
        row["risk_floor"],
        list(row["ai_tags"]),
        {name: row[name] for name in ("actor", "action", "resource", "origin", "outcome") if row[name]},
        read_hits(row["rules"]),
    )


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


def _cited(figures: Figures) -> Iterable[int]:
    counted: list[Figure] = [*figures.single.values(), *figures.own.values()]
    for table in figures.tables.values():
        counted += table.figures
    yield from (figure.first_id for figure in counted if figure.first_id is not None)
    yield from (event.id for event in figures.high_risk)
    yield from (row["id"] for row in figures.unreadable)
    yield from (gap.first_id for gap in figures.gaps)


async def _citations(snapshot: Snapshot, ids: Iterable[int]) -> dict[int, Citation]:
    rows: Sequence[Any] = await snapshot.fetch("citations", sorted(set(ids)))
    return {
        row["id"]: Citation(
            row["chain_no"], row["seq"], row["record_hash"].hex(), row["appended_at"], row["kind"]
        )
        for row in rows
    }
