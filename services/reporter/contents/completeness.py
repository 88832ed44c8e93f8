"""The completeness account: emitted (by sequence) = in Kafka = enriched = chained = in this report, each difference named.

Kafka, enriched and chained are of the whole log below the cut; the report is of one period of it. A difference is `explained`
where nothing is missing all the same: it says where the rest is. The others are losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from schemas.record import Kind
from services.reporter.contents.citing import cites
from services.reporter.contents.selection import Selection
from services.reporter.figures import Figures
from services.reporter.inputs import Filters

_HOLD_NOTHING = "not-delivered"
_OWN_TOPIC = "poison:own-topic"
_REASONS = {
    _HOLD_NOTHING: "hold no event: control markers and aborted transactions of producers",
    "expired": "expired in Kafka before they were read, and are lost",
}


@dataclass(frozen=True)
class _Log:
    """Of the chains of events below the cut: source offsets, those without an event by reason (number, first record), and records."""

    offsets: int
    skipped: dict[str, tuple[int, int | None]]
    kinds: dict[int, tuple[int, int | None]]
    records: int

    @property
    def chained(self) -> int:
        """Records of messages: events, repeats, unreadable ones."""
        return self.records - sum(
            count
            for kind, (count, _) in self.kinds.items()
            if kind not in (Kind.EVENT, Kind.DUPLICATE, Kind.POISON)
        )


async def completeness(selection: Selection, figures: Figures, chains: Sequence[Any]) -> dict[str, Any]:
    """The five numbers and what lies between them. `chains`: the rows of query `chains`."""
    log = await _read_log(selection, chains)
    skipped = sum(count for count, _ in log.skipped.values())
    here = await _in_period(selection, figures)
    foreign = _foreign(figures) if _let_through(selection.filters) else 0
    in_report = figures.one("all").events + figures.kind(Kind.DUPLICATE).events - foreign
    sequences = figures.sequences
    unaccounted = log.offsets - skipped - log.chained
    return {
        "emitted_by_sequence": {
            "sources": sequences.sources,
            "numbers": sequences.numbers,
            "recorded": sequences.numbers - sequences.missing,
            "missing": sequences.missing,
        },
        "in_kafka": log.offsets,
        "enriched": log.offsets - skipped,
        "chained": log.chained,
        "in_report": in_report,
        "balanced": unaccounted == 0,
        "unreadable_in_log": log.kinds.get(Kind.POISON, (0, None))[0],
        "differences": [
            *_emitted(figures),
            *_skips(log),
            *_unaccounted(unaccounted),
            *_elsewhere(log.chained - here),
            *_filtered(here - in_report),
        ],
        "of_these": _of_these(figures, foreign),
    }


async def _read_log(selection: Selection, chains: Sequence[Any]) -> _Log:
    ours = {
        row["chain_no"]: row for row in chains if not str(row["topic"]).endswith((".annotations", ".system"))
    }
    offsets = sum(
        row["last_offset"] + 1 - row["first_offset"]
        for row in ours.values()
        if row["last_offset"] is not None
    )
    skipped: dict[str, tuple[int, int | None]] = {}
    kinds: dict[int, tuple[int, int | None]] = {}
    for row in await selection.fetch_below("kinds_below"):
        if row["chain_no"] not in ours:
            continue
        kinds[row["kind"]] = _add(kinds.get(row["kind"]), row["records"], row["first_id"])
        if row["kind"] == Kind.SKIP:
            skipped[row["reason"]] = _add(skipped.get(row["reason"]), row["offsets"], row["first_id"])
    return _Log(offsets, skipped, kinds, sum(row["size"] for row in ours.values()))


def _add(so_far: tuple[int, int | None] | None, count: int, first: int) -> tuple[int, int | None]:
    return (count, first) if so_far is None else (so_far[0] + count, min(so_far[1] or first, first))


async def _in_period(selection: Selection, figures: Figures) -> int:
    """Messages of the period, also those that filters leave out."""
    repeats = figures.kind(Kind.DUPLICATE).events - _foreign(figures)
    if not selection.filters.any:
        return figures.one("all").events + repeats
    rows = await selection.unfiltered().fetch("compared", [], [])
    return int(next(row["events"] for row in rows if row["figure"] == "all")) + repeats


def _let_through(filters: Filters) -> bool:
    """Whether filters let through what is unreadable on our own topics: it has neither source nor type, and one tag."""
    return not (filters.sources or filters.types) and (not filters.tags or _OWN_TOPIC in filters.tags)


def _foreign(figures: Figures) -> int:
    """Messages that are counted as unreadable, and were not on the topic of events."""
    return figures.ours[Kind.POISON].events if Kind.POISON in figures.ours else 0


def _emitted(figures: Figures) -> list[dict[str, Any]]:
    sequences = figures.sequences
    if not sequences.missing:
        return []
    text = (
        f"{_count(sequences.missing, 'sequence number')} of {_count(sequences.missing_sources, 'source')} are in no record: these events "
        "were numbered by their source and did not arrive."
    )
    return [
        _difference(
            ("emitted", "in_kafka"), sequences.missing, text, *(gap.first_id for gap in sequences.gaps[:3])
        )
    ]


def _skips(log: _Log) -> list[dict[str, Any]]:
    return [
        _difference(
            ("in_kafka", "enriched"),
            count,
            f"{_count(count, 'source offset')} {_REASONS.get(reason, f'were passed over ({reason})')}.",
            first,
            explained=reason == _HOLD_NOTHING,
        )
        for reason, (count, first) in sorted(log.skipped.items())
        if count
    ]


def _unaccounted(count: int) -> list[dict[str, Any]]:
    if not count:
        return []
    text = f"{_count(abs(count), 'source offset')} {'are in no record' if count > 0 else 'have more than one record'}: see the findings."
    return [_difference(("enriched", "chained"), count, text)]


def _elsewhere(count: int) -> list[dict[str, Any]]:
    text = f"{_count(count, 'message')} of the log {'belongs' if count == 1 else 'belong'} to other periods."
    return [_difference(("chained", "in_report"), count, text, explained=True)] if count else []


def _filtered(count: int) -> list[dict[str, Any]]:
    text = f"{_count(count, 'message')} of the period {'is' if count == 1 else 'are'} left out by the schedule's filters."
    return [_difference(("chained", "in_report"), count, text, explained=True)] if count else []


def _of_these(figures: Figures, foreign: int) -> list[dict[str, Any]]:
    """What the messages in the report are."""
    told = [("events", figures.one("readable").events, figures.one("readable").first_id)]
    unread = figures.one("poison")
    told += [
        ("unreadable messages", unread.events - foreign, unread.first_id if unread.events > foreign else None)
    ]
    repeats = figures.kind(Kind.DUPLICATE)
    told += [("repeats of an event already recorded", repeats.events, repeats.first_id)]
    erased = figures.one("erased")
    told += [("events whose content was erased or retained away", erased.events, erased.first_id)]
    return [{"what": what, "count": count, "cites": cites(first)} for what, count, first in told]


def _difference(
    between: tuple[str, str], count: int, sentence: str, *first: int | None, explained: bool = False
) -> dict[str, Any]:
    return {
        "between": list(between),
        "count": count,
        "sentence": sentence,
        "explained": explained,
        "cites": cites(*first),
    }


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
