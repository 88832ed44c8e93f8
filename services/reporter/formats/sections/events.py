"""Events of high risk, and what people found out about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.reporter.escape import cut
from services.reporter.formats.blocks import (
    Block,
    Column,
    Facts,
    Mark,
    Ours,
    Paragraph,
    Piece,
    Prose,
    Section,
    Strong,
    Table,
    Text,
)
from services.reporter.formats.sections.figures import rows_of
from services.reporter.formats.words import (
    Object,
    cites,
    joined,
    name,
    number,
    plural,
    said,
    when,
)

_WORDS = {"actor": "actor ", "action": "action ", "resource": "on ", "origin": "from ", "outcome": "outcome "}
_MOST_RULES = 4
_MOST_READINGS = 2


def listed(document: Object) -> tuple[list[Any], int, int]:
    """Events of high risk, how many are shown, and of how many."""
    found = document.get("high_risk")
    if isinstance(found, Mapping):
        events = found.get("events") or []
        return events, int(found.get("shown") or len(events)), int(found.get("of") or len(events))
    return [], 0, 0


def high_risk(document: Object) -> Section | None:
    """Each with why: rules apart from AI."""
    events, shown, total = listed(document)
    title = Ours("Events of high and critical risk")
    if not total:
        return Section(
            "high-risk",
            title,
            [
                Paragraph(
                    [
                        Ours(
                            f"No event of high or critical risk is recorded for this period{_but_erased(document)}."
                        )
                    ]
                )
            ],
        )
    if not events:
        rest = Ours(" of high or critical risk; they are left out at this level of detail.")
        return Section("high-risk", title, [Paragraph([plural(total, "event"), rest])])
    where = "; all are in the attachments" if document.get("attachments") else ""
    caption = (
        [Ours(f"{shown:,} of {total:,} events, the gravest and earliest first{where}.")]
        if total > shown
        else [plural(total, "event"), Ours(", the gravest and earliest first.")]
    )
    columns = [
        Column(Ours("Time (UTC)"), "time", 0.9), Column(Ours("Risk"), "text", 0.7), Column(Ours("What happened"), "text", 2.6),
        Column(Ours("Why"), "text", 1.7), Column(Ours("Review"), "text", 0.8), Column(Ours("Record"), "text", 0.6),
    ]  # fmt: skip
    return Section("high-risk", title, [Table(caption, columns, [_row(event) for event in events])])


def _but_erased(document: Object) -> str:
    """Of what was erased nobody can tell."""
    erased = ((document.get("totals") or {}).get("erased") or {}).get("events")
    return ", among those whose content is there" if erased else ""


def _row(event: Object) -> list[Text]:
    return [
        [when(event.get("event_time"))],
        [risk(event.get("risk"))],
        _happened(event),
        _why(event),
        _review(event),
        cites(event),
    ]


def risk(level: Any) -> Mark:
    """`level` may be anybody's word."""
    tones: Mapping[str, Any] = {"critical": "grave", "high": "grave", "medium": "warn"}
    return Mark(tones.get(str(level), "plain"), cut(str(level), 20))


def _happened(event: Object) -> Text:
    kind = str(event.get("event_type", ""))
    pieces: list[Any] = [Strong(cut(kind, 80))]
    if event.get("summary"):
        pieces += [
            Ours(": "),
            Prose(cut(str(event["summary"]), 400)),
            Ours(" (text by "),
            name(event.get("by") or "rules", 40),
            Ours(")"),
        ]
    who = event.get("who") or {}
    for key, word in _WORDS.items():
        text = who.get(key)
        if text and not (key == "action" and kind.endswith(str(text))):
            pieces += [Ours("; " + word), name(text, 80)]
    if event.get("source"):
        pieces += [Ours("; source "), name(event["source"], 80)]
    return pieces


def _why(event: Object) -> Text:
    pieces: list[Any] = []
    rules = event.get("rules") or []
    for rule in rules[:_MOST_RULES]:
        pieces += [Ours("; ")] if pieces else [Ours("Rules: ")]
        pieces += [
            name(rule.get("title") or rule.get("id")),
            Ours(" ("),
            name(rule.get("level"), 20),
            Ours(")"),
        ]
    if len(rules) > _MOST_RULES:
        pieces.append(Ours(f" and {len(rules) - _MOST_RULES} more"))
    for reading in (event.get("ai") or [])[:_MOST_READINGS]:
        pieces += [
            Ours(". AI, " if pieces else "AI, "),
            name(reading.get("model"), 60),
            Ours(": "),
            name(reading.get("risk"), 20),
        ]
        told = reading.get("evidence") or reading.get("why")
        pieces += [Ours(", since "), Prose(cut(str(told), 200))] if told else []
        pieces += cites(reading)
    if event.get("risk_ai") and event.get("risk") != event.get("risk_floor"):
        pieces += [
            Ours(". " if pieces else ""),
            Ours("AI raised it from "),
            name(event.get("risk_floor"), 20),
        ]
    if event.get("tags"):
        pieces += [Ours(". Tags: " if pieces else "Tags: "), *joined(event["tags"][:8], 60)]
    return pieces


def _review(event: Object) -> Text:
    review = event.get("review")
    if isinstance(review, Mapping) and review.get("status") not in (None, "open"):
        by: list[Piece] = [Ours(" by "), name(review["by"], 60)] if review.get("by") else []
        reason: list[Piece] = (
            [Ours(": "), Prose(cut(str(review["reason"]), 200))] if review.get("reason") else []
        )
        return [Mark("good", cut(str(review["status"]), 20)), *by, *reason, *cites(review)]
    status = review if isinstance(review, str) else "open"
    return [Mark("warn" if status == "open" else "good", cut(status, 20))]


def _statuses(rows: Any) -> list[tuple[str, Text]]:
    """Events by what was said of them last."""
    return [
        (
            Ours("Last said: "),
            [
                name(row.get("status"), 30),
                Ours(", "),
                plural(int(row.get("events") or 0), "event"),
                *cites(row),
            ],
        )
        for row in rows or []
        if isinstance(row, Mapping) and row.get("status") != "none"
    ]


def reviews(document: Object) -> Section | None:
    """What is open, how long a review took, what is still open from before."""
    found = document.get("reviews")
    if not found:
        return None
    carried: Any = found.get("carried_over") or []
    rows: list[tuple[str, Text]] = [
        (Ours("Reviewed"), said(found.get("reviewed"))),
        (Ours("Open"), said(found.get("open"))),
        *_statuses(found.get("by_status")),
        (
            Ours("Median time to review"),
            [number(found["median_hours"]), Ours(" h")]
            if found.get("median_hours") is not None
            else [Ours("no review yet")],
        ),
    ]
    blocks: list[Block] = [Facts(rows)]
    if isinstance(carried, list) and carried:
        blocks.append(rows_of(carried, "Still open from earlier periods"))
    elif isinstance(carried, int) and carried:
        blocks.append(Paragraph([plural(int(carried), "event"), Ours(" of earlier periods still open.")]))
    else:
        blocks.append(Paragraph([Ours("Nothing is still open from earlier periods.")]))
    return Section("reviews", Ours("Reviews"), blocks)
