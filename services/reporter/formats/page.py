"""A document's page: what stands on the first page, and which sections follow. Pure; texts of events stay plain."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from services.reporter.document import edition_hash
from services.reporter.formats.blocks import (
    Block,
    Code,
    Facts,
    Heading,
    Listing,
    Ours,
    Page,
    Piece,
    Prose,
    Section,
    Signatures,
    Strong,
    Text,
    Tiles,
    Verdict,
)
from services.reporter.formats.other import OTHER, TITLE, warning
from services.reporter.formats.sections.account import attachments, cited, events_of_ours, method, software
from services.reporter.formats.sections.controls import controls
from services.reporter.formats.sections.events import high_risk, reviews
from services.reporter.formats.sections.figures import changes, figures, irregular, rules_and_ai
from services.reporter.formats.sections.integrity import (
    account_mark,
    completeness,
    explained_of,
    integrity,
    losses_of,
)
from services.reporter.formats.sections.summary import facts, summary
from services.reporter.formats.words import Object, local, moment, number, period_title, plural, when

_SECTIONS: list[Callable[[Object], Section | None]] = [
    summary,
    integrity,
    completeness,
    high_risk,
    reviews,
    figures,
    changes,
    controls,
    rules_and_ai,
    irregular,
    events_of_ours,
    attachments,
    method,
    software,
    facts,
    cited,
]


_MOST_ITEMS = 3
"""Differences in the account of completeness that stand on the first page."""


def page_of(document: Object) -> Page:
    """What is shown of a document: of the edition itself, or of a copy with less detail."""
    good = bool(document.get("integrity", {}).get("good"))
    other = bool(document.get(OTHER))
    made = [section for section in (build(document) for build in _SECTIONS) if section is not None]
    return Page(
        title=Ours(
            (f"{TITLE}: " if other else "" if good else "NOT VERIFIED: ")
            + f"Audit report, {document['period'].get('title') or period_title(document['period'])}"
        ),
        kicker=Ours("Piperoll"),
        language="en",
        good=good and not other,
        foot=_foot(document),
        cover=_cover(document),
        sections=made,
    )


def _foot(document: Object) -> str:
    period = document["period"]
    zone = period.get("time_zone", "UTC")
    edition = _none_of(document) + document.get("edition", {}).get("id", "")
    filtered = " · filtered: see the first page" if _only(document) else ""
    return Ours(
        f"{edition + ' · ' if edition else ''}{local(period['start'])} to before {local(period['end'])}, {zone}{filtered}"
    )


_FILTERS = (("sources", "source"), ("types", "type"), ("tags", "tag"))


def _only(document: Object) -> list[Piece]:
    """Which events count, where a schedule's filters leave out others; empty where all count."""
    filters = document.get("filters") or {}
    pieces: list[Piece] = []
    for key, word in _FILTERS:
        values = [str(value) for value in filters.get(key) or []]
        if values:
            pieces += [Ours("; " if pieces else ""), Ours(f"{word} ")]
            pieces += [
                piece
                for at, value in enumerate(values)
                for piece in (Ours(" or " if at else ""), Code(value))
            ]
    if not pieces:
        return []
    return [
        Ours("events of "),
        *pieces,
        Ours(". Figures are of these alone; integrity and completeness of the whole log."),
    ]


def _unfinished(document: Object) -> bool:
    """Whether the edition was made before its period was over."""
    try:
        made, end = (
            datetime.fromisoformat(str(time))
            for time in (document.get("made"), document["period"].get("end"))
        )
    except ValueError:
        return False
    return (made if made.tzinfo else made.replace(tzinfo=UTC)) < end


def _none_of(document: Object) -> str:
    """Before the name of an edition that this document is not."""
    return "other than " if document.get(OTHER) else ""


def _cover(document: Object) -> list[Block]:
    return [
        *warning(document),
        _verdict(document),
        Facts(_facts(document)),
        Tiles(_tiles(document)),
        Heading(Ours("What is open")),
        Listing(open_points(document)),
        *([] if document.get(OTHER) else _signatures(document)),
    ]


def _signatures(document: Object) -> list[Block]:
    """A copy cannot be signed: it shows the hash of its edition, which is the one on record, and its own beside it."""
    own = edition_hash(document)
    edition = str(document.get("edition_sha256") or own)
    return [
        Heading(Ours("Signatures")),
        Signatures(
            edition,
            [_signature(one) for one in document.get("signatures") or [] if _is_of_this(one, document)],
            None if edition == own else own,
            Ours(str(document.get("detail", ""))),
        ),
    ]


def _verdict(document: Object) -> Verdict:
    integrity_ = document.get("integrity", {})
    good = bool(integrity_.get("good"))
    sentences = [Ours(sentence) for sentence in integrity_.get("assurance") or []]
    return Verdict("good" if good else "bad", Ours(integrity_.get("verdict", "Not verified")), sentences)


def _facts(document: Object) -> list[tuple[str, Text]]:
    period, edition, cut = document["period"], document.get("edition") or {}, document.get("cut") or {}
    zone = str(period.get("time_zone", "UTC"))
    rows: list[tuple[str, Text]] = [
        (
            Ours("Period"),
            [
                Ours("from "),
                local(period["start"]),
                Ours(" to before "),
                local(period["end"]),
                Ours(", "),
                zone,
            ],
        )
    ]
    only = _only(document)
    if only:
        rows.append((Ours("Only"), only))
    if edition:
        rows.append((Ours("Edition"), [Ours(_none_of(document)), *_edition(edition)]))
    if cut.get("seal_no") is not None:
        rows.append(
            (
                Ours("Cut"),
                [
                    Ours("at seal "),
                    number(cut["seal_no"]),
                    Ours(" of "),
                    when(cut.get("time") or moment(cut.get("time_us"))),
                    Ours(" (UTC): every record below it"),
                ],
            )
        )
    if document.get("completeness"):
        rows.append((Ours("Completeness"), _account(document["completeness"])))
    if period.get("selected_by"):
        rows.append((Ours("Selection"), [Prose(str(period["selected_by"]))]))
    rows.append((Ours("Made"), [when(document.get("made")), Ours(" (UTC)"), *_by(document.get("software"))]))
    if document.get("detail"):
        rows.append((Ours("Detail"), [Ours(_DETAILS.get(str(document["detail"]), ""))]))
    return rows


def _account(account: Object) -> Text:
    """From Kafka to the report, in a line, with what explains the differences or what is missing."""
    chained = plural(int(account.get("chained") or 0), "message")
    counts = (
        f". {plural(int(account.get('in_kafka') or 0), 'source offset')} in Kafka, {chained} in the chains, "
        f"{number(account.get('in_report'))} in this report."
    )
    told = [*losses_of(account), *explained_of(account)][:_MOST_ITEMS]
    sentences = [str(one.get("sentence") or "") for one in told if isinstance(one, dict)]
    return [
        account_mark(account),
        Ours(counts),
        *(piece for one in sentences for piece in (Ours(" "), Prose(one))),
    ]


def _by(software: Any) -> Text:
    version = software.get("piperoll") if isinstance(software, dict) else software
    return [Ours(" by Piperoll "), str(version)] if version else []


_DETAILS = {
    "figures": "figures alone; events and people are left out",
    "pseudonymous": "people, resources and addresses stand under numbers of this edition; no payloads",
    "full": "everything that the edition holds",
}


def _edition(edition: Object) -> Text:
    pieces: list[Any] = [str(edition.get("id", ""))]
    if edition.get("replaces"):
        pieces += [
            Ours(", replaces "),
            str(edition["replaces"]),
            Ours(" because: "),
            Prose(str(edition.get("why") or "no reason given")),
        ]
        pieces += [Ours(" (by "), str(edition.get("by") or "nobody named"), Ours(")")]
    return pieces


def _tiles(document: Object) -> list[tuple[str, str]]:
    totals, tables = document.get("totals") or {}, document.get("tables") or {}
    total = totals.get("all") or {}

    def keys(table: str) -> int:
        return int((tables.get(table) or {}).get("keys") or 0)

    events, high = int(total.get("events") or 0), int(total.get("high_risk") or 0)
    unread = int((totals.get("poison") or {}).get("events") or 0)
    counted = [
        (events, "event", "events"),
        (high, "of high or critical risk", "of high or critical risk"),
        (keys("source"), "source", "sources"),
        (keys("actor"), "actor named", "actors named"),
        (unread, "message unreadable", "messages unreadable"),
    ]
    return [(number(count), Ours(one if count == 1 else many)) for count, one, many in counted]


def open_points(document: Object) -> list[Text]:
    """What somebody still has to look at, each in a line; one line says so where there is nothing."""
    integrity_, reviews_ = document.get("integrity") or {}, document.get("reviews") or {}
    counts = [
        (
            integrity_.get("found"),
            "finding",
            "of the verification: records are not as they were written, or are missing",
        ),
        (
            _losses(document),
            "difference",
            "in the account of completeness that nothing explains",
        ),
        (_count(reviews_.get("open")), "event", "of high or critical risk without a review"),
        (
            reviews_.get("carried_over_of") or _count(reviews_.get("carried_over")),
            "event",
            "still open from earlier periods",
        ),
        (
            (document.get("totals") or {}).get("erased", {}).get("events"),
            "event",
            "erased or retained away: type, source and risk are in no figure here",
        ),
        (
            sum(int(gap.get("missing") or 0) for gap in document.get("sequence_gaps") or []),
            "number",
            "missing in the sequences of sources",
        ),
        (
            (document.get("totals") or {}).get("pending", {}).get("events"),
            "event",
            "waiting for a reading by AI",
        ),
        (
            (integrity_.get("checkpoints") or {}).get("unsealed_records"),
            "record",
            "behind the last checkpoint that was compared",
        ),
    ]
    lines: list[Text] = [
        [plural(int(count), word), Ours(f" {rest}.")] for count, word, rest in counts if count
    ]
    if _unfinished(document):
        lines.insert(
            0,
            [
                Strong(Ours("The period was not over when this edition was made")),
                Ours(": what came later is not in it. Make a new edition after its end."),
            ],
        )
    if integrity_.get("checkpoints") is None:
        lines.append([Ours("Nothing was compared with a signed checkpoint.")])
    return lines or [[Ours("Nothing: no finding, no difference, no event of high risk without a review.")]]


def _losses(document: Object) -> int:
    """Missing numbers of sources have a line of their own."""
    said_apart = "emitted" if document.get("sequence_gaps") else None
    missing = losses_of(document.get("completeness") or {})
    return sum(
        not isinstance(one, dict) or (one.get("between") or [None])[0] != said_apart for one in missing
    )


def _count(value: Any) -> int:
    return len(value) if isinstance(value, list) else int(value or 0)


def _is_of_this(signature: Object, document: Object) -> bool:
    """Signatures that the period saw are mostly of earlier editions."""
    return signature.get("edition") in (None, (document.get("edition") or {}).get("id"))


def _signature(one: Object) -> list[Text]:
    who: Text = [
        str(one.get("by", "")),
        Ours(", "),
        str(one.get("role", "")),
        Ours(", "),
        when(one.get("recorded") or one.get("time")),
    ]
    lines: list[Text] = [who, [Prose(str(one.get("statement") or ""))]]
    if one.get("reason"):  # asked for with --despite alone
        lines.append([Ours("Signed all the same, because: "), Prose(str(one.get("reason") or ""))])
    return lines
