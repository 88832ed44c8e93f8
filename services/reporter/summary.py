"""The executive summary: sentences made by code from figures, each citing the records that it rests on.

A sentence is a list of pieces. Pieces of type `Trusted` are ours; any other text comes from events.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from schemas.record import Kind
from services.reporter.contents.citing import cites
from services.reporter.escape import Trusted, cut, visible
from services.reporter.figures import Figure, Figures
from services.reporter.period import Period

MOST_CITED = 3
_NAME_LENGTH = 80
_NONE = Figure("", 0)
_SERIOUS = ("high", "critical")


class Sentence(NamedTuple):
    """One sentence, and its records by number."""

    pieces: list[str]
    cites: list[int]

    @property
    def text(self) -> str:
        """In one line, for JSON."""
        return "".join(
            piece if isinstance(piece, Trusted) else f"“{visible(piece)}”" for piece in self.pieces
        )


LABEL = "Put together by rules from the figures; no AI had a part in it."


def summary_block(
    period: Period, figures: Figures, grave: Sequence[int], unreadable_in_log: int
) -> dict[str, Any]:
    """The executive summary as the document has it. `grave`: the records of the gravest events."""
    said = executive_summary(period, figures, grave, unreadable_in_log)
    sentences = [{"text": one.text, "cites": one.cites, "facts": []} for one in said]
    return {"by": "rules", "label": LABEL, "sentences": sentences, "survived_percent": None}


def executive_summary(
    period: Period, figures: Figures, grave: Sequence[int], unreadable_in_log: int
) -> list[Sentence]:
    """What a reader must know, in the order of its weight. `unreadable_in_log` counts the whole log's: a message that
    cannot be read has no event time, so most reports by event time leave it out."""
    total = figures.one("all")
    if total.events == 0:
        return [
            _sentence([], f"No events are recorded for {period.title}."),
            *_unchecked(figures),
        ]
    return [
        _scope(period, figures, total),
        _high_risk(figures, total, grave),
        *_rule(figures),
        *_most_frequent(figures),
        *_busiest_day(period, figures),
        _unreadable(figures, unreadable_in_log),
        _repeats(figures),
        *_unchecked(figures),
        *_gaps(figures),
        *_catalogue(figures),
        _summaries(figures, total),
    ]


def number(value: int | Decimal) -> Trusted:
    """1,234."""
    return Trusted(f"{value:,}")


def plural(count: int, word: str, words: str | None = None) -> Trusted:
    """`1 event`, `1,234 events`."""
    return Trusted(f"{count:,} {word if count == 1 else words or word + 's'}")


def share(figure: Figure) -> Trusted:
    """In percent of all events; what is not none is never shown as 0.0 %."""
    if figure.share is None:
        return Trusted("\N{EN DASH}")
    if figure.events and figure.share == 0:
        return Trusted("under 0.1 %")
    return Trusted(f"{figure.share} %")


def parts_of(figure: Figure) -> list[str]:
    """The key of a figure by several things: [id, title, level] of a rule, [type, tag] of a catalogue problem."""
    return ["" if part is None else str(part) for part in json.loads(figure.key)]


def _sentence(ids: Iterable[int | None], *pieces: str) -> Sentence:
    """`pieces` alternate: ours, an event's, ours, …"""
    made = [
        Trusted(piece) if at % 2 == 0 else cut(piece, _NAME_LENGTH) or "(empty)"
        for at, piece in enumerate(pieces)
    ]
    return Sentence(made, cites(*ids)[:MOST_CITED])


def _is_are(count: int) -> str:
    return "is" if count == 1 else "are"


def _scope(period: Period, figures: Figures, total: Figure) -> Sentence:
    types, sources, actors = (figures.table(name).keys for name in ("type", "source", "actor"))
    text = (
        f"For {period.title}, {plural(total.events, 'event')} {_is_are(total.events)} recorded, of {plural(types, 'type')} "
        f"from {plural(sources, 'source')}, naming {plural(actors, 'actor')}."
    )
    return _sentence([total.first_id], text)


def _high_risk(figures: Figures, total: Figure, grave: Sequence[int]) -> Sentence:
    if total.high == 0:
        return _sentence([total.first_id], "No event of high or critical risk is among them.")
    critical = next((item.events for item in figures.table("risk").figures if item.key == "critical"), 0)
    text = f"{plural(total.high, 'event')} {_is_are(total.high)} of high or critical risk, {number(critical) if critical else 'none'} of them critical."
    return _sentence(grave, text)


def _rule(figures: Figures) -> list[Sentence]:
    for figure in figures.table("rule").figures:
        _, title, level = parts_of(figure)
        if level in _SERIOUS:
            ours = "Of the rules for high and critical risk, the one that fired most often is "
            return [_sentence([figure.first_id], ours, title, f", on {plural(figure.events, 'event')}.")]
    return []


def _most_frequent(figures: Figures) -> list[Sentence]:
    types, actors = figures.table("type").figures, figures.table("actor").figures
    made = []
    if types:
        rest = f", with {plural(types[0].events, 'event')} ({share(types[0])})."
        made.append(_sentence([types[0].first_id], "The most frequent type is ", types[0].key, rest))
    if actors:
        rest = f", in {plural(actors[0].events, 'event')} ({share(actors[0])})."
        made.append(_sentence([actors[0].first_id], "The actor named most often is ", actors[0].key, rest))
    return made


def _busiest_day(period: Period, figures: Figures) -> list[Sentence]:
    days = figures.table("day").figures
    if len(days) < 2:
        return []
    most = max(days, key=lambda day: day.events)
    text = f"Events fall on {plural(len(days), 'day')}; the most on {most.key} ({period.zone}), with {plural(most.events, 'event')}."
    return [_sentence([most.first_id], text)]


def _unreadable(figures: Figures, in_log: int) -> Sentence:
    poison = figures.one("poison")
    if poison.events == 0:
        text = "No message of the period was unreadable"
        if in_log:
            text += (
                f"; in the whole log {plural(in_log, 'message')} {_is_are(in_log)},"
                " which count by their time in Kafka, outside the period"
            )
        return _sentence([], f"{text}.")
    text = (
        f"{plural(poison.events, 'message')} could not be read as events; "
        "each is kept as it came, as a dead letter and in its place among the records."
    )
    return _sentence([poison.first_id], text)


def _repeats(figures: Figures) -> Sentence:
    repeats, skips = figures.kind(Kind.DUPLICATE), figures.kind(Kind.SKIP)
    text = f"{plural(repeats.events, 'repeat')} of an event already recorded {_is_are(repeats.events)} noted and not counted again"
    if skips.events:
        text += (
            f"; {plural(skips.events, 'record')} {_is_are(skips.events)} of source offsets without an event"
        )
    return _sentence([repeats.first_id, skips.first_id], text + ".")


def _unchecked(figures: Figures) -> list[Sentence]:
    found = figures.one("unchecked")
    if not found.events:
        return []
    text = (
        f"{plural(found.events, 'repeat')} of erased events could not be compared with what was erased and may be other "
        "events: of high risk (identity:unchecked)."
    )
    return [_sentence([found.first_id], text)]


def _gaps(figures: Figures) -> list[Sentence]:
    if not figures.gaps:
        return []
    missing, worst = sum(gap.missing for gap in figures.gaps), figures.gaps[0]
    text = f"{plural(missing, 'sequence number')} of {plural(len(figures.gaps), 'source')} {_is_are(missing)} missing, most of "
    rest = f" ({number(worst.missing)}): such events were numbered by their source and did not arrive."
    return [_sentence([gap.first_id for gap in figures.gaps], text, worst.source, rest)]


def _catalogue(figures: Figures) -> list[Sentence]:
    tags = {figure.key: figure for figure in figures.table("noticed").figures}
    incomplete, unknown = tags.get("catalog:incomplete", _NONE), tags.get("catalog:unknown", _NONE)
    if not incomplete.events and not unknown.events:
        return []
    text = (
        f"{plural(incomplete.events, 'event')} lack{'s' if incomplete.events == 1 else ''} fields that the catalogue requires "
        f"of their type, and {plural(unknown.events, 'event')} {_is_are(unknown.events)} of a type that it does not know."
    )
    return [_sentence([incomplete.first_id, unknown.first_id], text)]


def _summaries(figures: Figures, total: Figure) -> Sentence:
    ai, pending = figures.one("ai"), figures.one("pending")
    rules = next((item for item in figures.table("by").figures if item.key == "rules"), _NONE)
    if not ai.events and not pending.events:
        text = "All summaries and risks were made by rules; no AI had a part in them."
        return _sentence([total.first_id], text)
    text = (
        f"{plural(rules.events, 'summary', 'summaries')} {'was' if rules.events == 1 else 'were'} made by rules and "
        f"{number(ai.events)} by AI; {plural(pending.events, 'reading')} by AI {_is_are(pending.events)} still to come."
    )
    return _sentence([ai.first_id, pending.first_id], text)
