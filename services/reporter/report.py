"""A report as data: pure, from figures and a verification to what every format shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from schemas.record import Kind
from schemas.verification.findings import utc
from services.reporter.contents.tables import KINDS, kind_name
from services.reporter.drill.last import NONE_ON_RECORD, LastDrill
from services.reporter.figures import Citation, Event, Figure, Figures, Hit
from services.reporter.integrity import assurance, tail, verdict
from services.reporter.period import Period
from services.reporter.summary import executive_summary, parts_of
from services.reporter.verify import Verification


class Attachment(NamedTuple):
    """A file beside the report. `sha256` in hex."""

    name: str
    about: str
    rows: int
    size: int
    sha256: str


class Told(NamedTuple):
    """A sentence with the records that it rests on."""

    pieces: list[str]
    cites: list[Citation]


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
    def summary(self) -> list[Told]:
        unreadable = sum(result.kinds[Kind.POISON] for result in self.verification.chains)
        grave = [event.id for event in self.figures.high_risk]
        said = executive_summary(self.period, self.figures, grave, unreadable)
        return [Told(one.pieces, self.cites(*one.cites)) for one in said]

    @property
    def other_records(self) -> list[tuple[str, Figure]]:
        """Records that are no events, in words."""
        return [(kind_name(kind), figure) for kind, figure in self.figures.own.items()]

    def cites(self, *ids: int | None) -> list[Citation]:
        return [self.figures.citations[at] for at in ids if at is not None and at in self.figures.citations]

    @property
    def cited(self) -> list[Citation]:
        """All records that the report names, in order."""
        return sorted(set(self.figures.citations.values()))


def _second(microseconds: int) -> str:
    return utc(microseconds // 1_000_000 * 1_000_000).replace(".000000", "")


def with_lists(figures: Figures, document: Mapping[str, Any]) -> Figures:
    """The figures with the lists and citations of their document, for these pages."""
    cited = {_number(one["record"]): _citation(one) for one in document["cited"]}
    return replace(
        figures,
        high_risk=[_event(one) for one in document["high_risk"]["events"]],
        unreadable=[_unreadable(one) for one in document["unreadable"]],
        citations=cited,
    )


def _number(record: str) -> int:
    chain_no, seq = record.split(":")
    return int(chain_no) << 48 | int(seq)


def _citation(one: Mapping[str, Any]) -> Citation:
    chain_no, seq = one["record"].split(":")
    return Citation(
        int(chain_no), int(seq), one["hash"], datetime.fromisoformat(one["recorded"]), one["kind"]
    )


def _event(one: Mapping[str, Any]) -> Event:
    names = ("event_type", "source", "summary", "by", "risk", "risk_ai", "risk_floor", "tags", "who")
    said = {name: one[name] for name in names}
    hits = [Hit(**hit) for hit in one["rules"]]
    return Event(_number(one["record"]), datetime.fromisoformat(one["event_time"]), rules=hits, **said)


def _unreadable(one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": _number(one["record"]),
        "appended_at": datetime.fromisoformat(one["recorded"]),
        "ai_summary": one["reason"],
        **{f"kafka_{name}": one[name] for name in ("topic", "partition", "offset")},
    }


__all__ = ["KINDS", "Attachment", "Report", "parts_of"]
