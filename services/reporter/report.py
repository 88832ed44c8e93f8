"""A report as data: pure, from figures and a verification to what every format shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, NamedTuple

from schemas.record import Kind
from schemas.verification.findings import utc
from services.reporter.account import as_json
from services.reporter.document import FORMAT
from services.reporter.drill.last import NONE_ON_RECORD, LastDrill
from services.reporter.figures import Citation, Event, Figure, Figures, Table
from services.reporter.integrity import assurance, tail, verdict
from services.reporter.period import Period
from services.reporter.summary import Sentence, executive_summary, parts_of
from services.reporter.verify import Verification

KINDS = {
    Kind.DUPLICATE: "Repeats of an event already recorded",
    Kind.SKIP: "Records of source offsets that hold no event",
    Kind.ANNOTATION: "Later readings by AI",
    Kind.OWN_EVENT: "Events of Piperoll itself",
    Kind.GENESIS: "Chains opened",
    Kind.CLOSE: "Chains closed",
}
"""What a report calls the records that are no events."""


class Day(NamedTuple):
    """One day and how many events are of it."""

    date: date
    events: int


def fill_days(counts: dict[date, int], first: date, last: date) -> list[Day]:
    """Every day from `first` to `last`, and days outside that have counts."""
    days = {first + timedelta(days=at): 0 for at in range((last - first).days + 1)}
    return [Day(day, count) for day, count in sorted((days | counts).items())]


class Attachment(NamedTuple):
    """A file beside the report. `sha256` in hex."""

    name: str
    about: str
    rows: int
    size: int
    sha256: str


@dataclass(frozen=True)
class Report:
    """Everything that the formats show."""

    period: Period
    made_us: int
    software: str
    verification: Verification
    figures: Figures
    attachments: list[Attachment] = field(default_factory=list)
    drill: LastDrill | None = None

    @property
    def made(self) -> str:
        return _second(self.made_us)

    @property
    def verified(self) -> str:
        return _second(self.verification.taken_us)

    @property
    def verdict(self) -> str:
        return verdict(self.verification)

    @property
    def assurance(self) -> list[str]:
        return assurance(self.verification)

    @property
    def checked_by(self) -> list[str]:
        """What no checkpoint covers, and whether the control was tried: sentences beside those that are fixed."""
        unsealed = tail(self.verification)
        return [
            *([] if unsealed is None else [unsealed]),
            NONE_ON_RECORD
            if self.drill is None
            else f"{self.drill.sentence} (record {self.drill.chain_no}:{self.drill.seq}).",
        ]

    @property
    def summary(self) -> list[Sentence]:
        unreadable = sum(result.kinds[Kind.POISON] for result in self.verification.chains)
        return executive_summary(self.period, self.figures, unreadable)

    def days(self, *, high: bool) -> list[Day]:
        """Events by day, or those of high risk."""
        counts = {
            date.fromisoformat(figure.key): figure.high if high else figure.events
            for figure in self.figures.table("day").figures
            if len(figure.key) == 10
        }
        first = self.period.start.date()
        last = date.fromordinal(first.toordinal() + self.period.days - 1)
        return fill_days(counts, first, last)

    @property
    def other_records(self) -> list[tuple[str, Figure]]:
        """Records that are no events, in words."""
        return [(_kind_name(kind), figure) for kind, figure in self.figures.own.items()]

    def cites(self, *ids: int | None) -> list[Citation]:
        return [self.figures.citations[at] for at in ids if at is not None and at in self.figures.citations]

    @property
    def cited(self) -> list[Citation]:
        """All records that the report names, in order."""
        return sorted(set(self.figures.citations.values()))

    def as_json(self) -> dict[str, Any]:
        """The document that every format is made of. Texts are as they are in the events, not escaped for any page."""
        figures = self.figures
        high = self.figures.one("all").high
        return {
            "format": FORMAT,
            "integrity": as_json(self.verification),
            "drill": None if self.drill is None else self.drill.as_json(),
            "period": {
                "label": self.period.label,
                "title": self.period.title,
                "start": self.period.start.isoformat(),
                "end": self.period.end.isoformat(),
                "selected_by": self.period.explanation,
                "time_zone": self.period.zone,
            },
            "made": utc(self.made_us // 1_000_000 * 1_000_000).replace(".000000", ""),
            "software": {"piperoll": self.software.removeprefix("Piperoll ")},
            "summary": {
                "by": "rules",
                "sentences": [
                    {"text": item.text, "cites": [_cite(one) for one in item.cites]} for item in self.summary
                ],
            },
            "totals": {name: self._figure(figure) for name, figure in figures.single.items()},
            "tables": {name: self._table(table) for name, table in figures.tables.items()},
            "by_day": [
                {"day": day.date.isoformat(), "events": day.events, "high_risk": high.events}
                for day, high in zip(self.days(high=False), self.days(high=True), strict=True)
            ],
            "other_records": {name: item.events for name, item in self.other_records},
            "high_risk": {
                "shown": len(figures.high_risk),
                "of": max(high, len(figures.high_risk)),
                "events": [self._event(event) for event in figures.high_risk],
            },
            "unreadable": [self._unreadable(item) for item in figures.unreadable],
            "sequence_gaps": [
                gap._asdict() | {"cites": [_cite(one) for one in self.cites(gap.first_id)]}
                for gap in figures.gaps
            ],
            "attachments": [item._asdict() for item in self.attachments],
            "cited": [_cite(one) | {"appended_at": one.appended_at.isoformat()} for one in self.cited],
        }

    def _unreadable(self, item: dict[str, Any]) -> dict[str, Any]:
        told = item | {"appended_at": item["appended_at"].isoformat()}
        told["cites"] = [_cite(one) for one in self.cites(told.pop("id"))]
        return told

    def _figure(self, figure: Figure) -> dict[str, Any]:
        return {
            "events": figure.events,
            "high_risk": figure.high,
            "share_percent": None if figure.share is None else float(figure.share),
            "cites": [_cite(one) for one in self.cites(figure.first_id)],
        }

    def _table(self, table: Table) -> dict[str, Any]:
        rows = [{"key": figure.key} | self._figure(figure) for figure in table.figures]
        return {"rows": rows, "keys": table.keys}

    def _event(self, event: Event) -> dict[str, Any]:
        return {
            "event_time": event.event_time.isoformat(),
            "event_type": event.event_type,
            "source": event.source,
            "summary": event.summary,
            "by": event.by,
            "risk": event.risk,
            "risk_floor": event.risk_floor,
            "risk_ai": event.risk_ai,
            "tags": event.tags,
            "who": event.who,
            "rules": [rule._asdict() for rule in event.rules],
            "cites": [_cite(one) for one in self.cites(event.id)],
        }


def _second(microseconds: int) -> str:
    return utc(microseconds // 1_000_000 * 1_000_000).replace(".000000", "")


def _kind_name(kind: int) -> str:
    return {int(known): name for known, name in KINDS.items()}.get(kind, f"Records of kind {kind}")


def _cite(citation: Citation) -> dict[str, Any]:
    return {"record": citation.label, "hash": citation.record_hash}


__all__ = ["KINDS", "Attachment", "Report", "parts_of"]
