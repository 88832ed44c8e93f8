"""What is worth telling of a document, in the order of its weight: clauses made from its parts, before the records behind each are
looked up. Trends, absences and comparisons are said here or nowhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from services.reporter.escape import Trusted, cut
from services.reporter.grounding.fact import ALL, EXAMPLES, THIS_PERIOD

_NAME_LENGTH = 80
_MOST_NAMED = 3
_NEW = {"actors": ("actor",), "types": ("type of event", "types of events"), "sources": ("source",)}
_COMPARED = {
    "events": "all",
    "events of high or critical risk": "high",
    "events of critical risk": "critical",
    "unreadable messages": "poison",
    "types of events": "typed",
    "sources": "typed",
    "actors": "named",
}
"""The events of this period that a comparison is over."""
Part = Mapping[str, Any]


@dataclass(frozen=True)
class Draft:
    """A fact to be. `figure` and `key` say which of the selected events it counts (`bases.CONDITIONS`); without a figure it
    rests on the records of `listed` (`bases._LISTS`), else on the records `cites`; `over` says what these are."""

    id: str
    pieces: tuple[str, ...]
    topic: str
    sql: str
    value: int | None = None
    must: bool = False
    figure: str | None = None
    key: str | None = None
    cites: tuple[int, ...] = ()
    listed: str | None = None
    over: str = ALL


def drafts_of(made: Part) -> list[Draft]:
    """From the parts of a document whose citations are still records by number."""
    total = made["totals"]["all"]
    if not total["events"]:
        nothing = ours(f"No events are recorded for {made['period']['title']}")
        return [
            *_integrity(made),
            Draft("events.none", nothing, "volume", "counts", 0, must=True),
            *_reviews(made["reviews"]),
            *_completeness(made),
            *_changes(made["changes"], made["totals"]["erased"]["events"]),
            *_happened(made),
        ]
    return [
        *_integrity(made),
        *_volume(made),
        *_erased(made["totals"]["erased"]),
        *_risk(made),
        *_reviews(made["reviews"]),
        *_completeness(made),
        *_changes(made["changes"], made["totals"]["erased"]["events"]),
        *_most_frequent(made),
        *_happened(made),
        *_summaries(made),
    ]


def ours(*pieces: str) -> tuple[str, ...]:
    """`pieces` alternate: ours, an event's, ours, …"""
    return tuple(
        Trusted(piece) if at % 2 == 0 else cut(piece, _NAME_LENGTH) or "(empty)"
        for at, piece in enumerate(pieces)
    )


def plural(count: int, word: str, words: str | None = None) -> str:
    """`1 event`, `1,234 events`."""
    return f"{count:,} {word if count == 1 else words or word + 's'}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _share(percent: float | None) -> str:
    """What is not none is never shown as 0.0 %."""
    return "under 0.1 %" if percent == 0 else f"{percent} %"


def _integrity(made: Part) -> list[Draft]:
    verdict = str(made["integrity"].get("verdict") or "")
    if not verdict:
        return []
    text = ours(f"The verification before this report says: {verdict}")
    return [Draft("integrity.verdict", text, "integrity", "verify", must=True)]


def _volume(made: Part) -> list[Draft]:
    total, tables = made["totals"]["all"], made["tables"]
    types, sources, actors = (tables[name]["keys"] for name in ("type", "source", "actor"))
    text = (
        f"For {made['period']['title']}, {plural(total['events'], 'event')} {_are(total['events'])} recorded, of "
        f"{plural(types, 'type')} from {plural(sources, 'source')}, naming {plural(actors, 'actor')}"
    )
    drafts = [Draft("events.all", ours(text), "volume", "counts", total["events"], True, "all")]
    days = [day for day in made["by_day"] if day["events"]]
    if len(days) > 1:
        most = max(days, key=lambda day: day["events"])
        text = f"Events fall on {plural(len(days), 'day')}; the most on {most['day']}, with {plural(most['events'], 'event')}"
        counted = ("counts", most["events"], False, "day", most["day"])
        drafts.append(Draft("events.busiest-day", ours(text), "days", *counted))
    return drafts


def _erased(erased: Part) -> list[Draft]:
    """What can no longer be told: figures that fell since must not look like better ones."""
    count = erased["events"]
    if not count:
        return []
    was, its = ("was", "its") if count == 1 else ("were", "their")
    text = f"{plural(count, 'event')} {was} erased or retained away: {its} type, source and risk are in no figure here"
    return [Draft("events.erased", ours(text), "erasure", "counts", count, True, "erased")]


def _risk(made: Part) -> list[Draft]:
    high = made["totals"]["all"]["high_risk"]
    if not high:
        among = "those whose content is there" if made["totals"]["erased"]["events"] else "them"
        none = ours(f"No event of high or critical risk is among {among}")
        return [Draft("risk.high", none, "risk", "counts", 0, must=True)]
    critical = next((row["events"] for row in made["tables"]["risk"]["rows"] if row["key"] == "critical"), 0)
    text = f"{plural(high, 'event')} {_are(high)} of high or critical risk, {f'{critical:,}' if critical else 'none'} of them critical"
    drafts = [Draft("risk.high", ours(text), "risk", "counts", high, True, "high")]
    fired = [row for row in made["tables"]["rule"]["rows"] if row["level"] in ("high", "critical")]
    for at, row in enumerate(fired[:_MOST_NAMED], 1):
        pieces = ours("Rule ", row["title"], f" ({row['level']}) fired on {plural(row['events'], 'event')}")
        drafts.append(
            Draft(f"rule.{at}", pieces, "rules", "counts", row["events"], False, "rule", row["key"])
        )
    alone = made["ai"].get("raised_to_high_by_ai_alone") or {}
    if alone.get("events"):
        text = f"{plural(alone['events'], 'event')} {_are(alone['events'])} of high or critical risk by a reading of AI alone"
        drafts.append(
            Draft("risk.ai-alone", ours(text), "risk", "raised", alone["events"], False, "ai-alone")
        )
    return drafts


def _reviews(reviews: Part) -> list[Draft]:
    of, still = reviews["reviewable"], reviews["open"]
    drafts = []
    if of:
        text = f"Of {plural(of, 'event')} of high or critical risk, {reviews['reviewed']:,} {_are(reviews['reviewed'])} reviewed and {still:,} {_are(still)} open"
        drafts.append(Draft("review.open", ours(text), "review", "grave_reviews", still, True, "open"))
    if reviews["median_hours"] is not None:
        text = f"The median time from the recording of such an event to its first review is {reviews['median_hours']:,} hours"
        drafts.append(Draft("review.median", ours(text), "review", "grave_reviews", figure="answered"))
    if reviews["carried_over_of"]:
        count = reviews["carried_over_of"]
        text = (
            f"{plural(count, 'event')} of high or critical risk of earlier periods {_are(count)} still open"
        )
        drafts.append(
            Draft("review.carried-over", ours(text), "review", "carried", count, True, listed="carried")
        )
    return drafts


def _completeness(made: Part) -> list[Draft]:
    drafts = []
    gaps = made["sequence_gaps"]
    missing = made["completeness"]["emitted_by_sequence"]["missing"]
    if gaps:
        text = ours(
            f"{plural(missing, 'sequence number')} of {plural(len(gaps), 'source')} {_are(missing)} missing, most of ",
            gaps[0]["source"],
            f" ({gaps[0]['missing']:,}): such events were numbered by their source and did not arrive",
        )
        cites = tuple(one for gap in gaps for one in gap["cites"])
        drafts.append(
            Draft(
                "completeness.gaps", text, "completeness", "gaps", missing, True, cites=cites, over=EXAMPLES
            )
        )
    poison = made["totals"]["poison"]["events"]
    if poison:
        text = ours(
            f"{plural(poison, 'message')} could not be read as events; each is kept as it came, and has its place among the records"
        )
        drafts.append(Draft("completeness.unreadable", text, "unreadable", "counts", poison, True, "poison"))
    repeats = made["duplicates"]["repeats"]
    if repeats["events"]:
        text = ours(
            f"{plural(repeats['events'], 'repeat')} of an event already recorded {_are(repeats['events'])} noted and not counted again"
        )
        drafts.append(
            Draft("completeness.repeats", text, "repeats", "repeats", repeats["events"], listed="repeats")
        )
    return (
        drafts + _unchecked(made["duplicates"]["unchecked"]) + _catalogue(made["tables"]["noticed"]["rows"])
    )


def _unchecked(found: Part) -> list[Draft]:
    if not found["events"]:
        return []
    text = ours(
        f"{plural(found['events'], 'repeat')} of erased events could not be compared with what was erased and may be other events: "
        "of high risk (identity:unchecked)"
    )
    count = found["events"]
    return [Draft("completeness.unchecked", text, "repeats", "repeats", count, True, listed="unchecked")]


def _catalogue(rows: Iterable[Part]) -> list[Draft]:
    said = {
        "catalog:incomplete": ("without a field that the catalogue requires of their type", "incomplete"),
        "catalog:unknown": ("of a type that the catalogue does not know", "unknown"),
    }
    return [
        Draft(
            f"catalogue.{said[row['key']][1]}",
            ours(f"{plural(row['events'], 'event')} {_are(row['events'])} {said[row['key']][0]}"),
            *("catalogue", "counts", row["events"], False, "tag", row["key"]),
        )
        for row in rows
        if row["key"] in said
    ]


def _changes(changes: Part, erased: int) -> list[Draft]:
    if changes["nothing_before"]:
        nothing = ours("There is no record before this period: nothing to compare with")
        return [Draft("changes.nothing-before", nothing, "changes", "earlier")]
    drafts = []
    if any(row["before"] for row in changes["against_last_period"]):
        label = changes["last_period"]["label"]
        for row in changes["against_last_period"]:
            if row["key"]:
                continue
            how = "the same as" if not row["change"] else "more than" if row["change"] > 0 else "fewer than"
            text = f"{row['figure'].capitalize()} in this period are {row['now']:,}, {how} in {label} ({row['before']:,})"
            name = row["figure"].replace(" ", "-")
            figure = _COMPARED[row["figure"]]
            drafts.append(
                Draft(
                    f"changes.{name}",
                    ours(text),
                    "changes",
                    *("compared", row["change"]),
                    figure=figure,
                    over=THIS_PERIOD,
                )
            )
    for what, words in _NEW.items():
        new = changes[f"new_{what}"]
        if new["of"] and new["rows"]:
            name, count = new["rows"][0]["key"], new["of"]
            said = f"{plural(count, *words)} {_are(count)} in no earlier record, among them "
            cites = tuple(one for row in new["rows"] for one in row["cites"])
            drafts.append(
                Draft(
                    f"changes.new-{what}",
                    ours(said, name, ""),
                    "changes",
                    "counts",
                    count,
                    cites=cites,
                    over=EXAMPLES,
                )
            )
    silent = changes["silent_sources"]
    if silent:
        gone = ours(
            f"{plural(len(silent), 'source')} with events in the period before {'has' if len(silent) == 1 else 'have'} none in this one"
            f"{' whose content is there' if erased else ''}, among them ",
            silent[0]["key"],
            "",
        )
        cites = tuple(one for row in silent for one in row["cites"])
        drafts.append(
            Draft(
                "changes.silent",
                gone,
                "changes",
                "silent",
                len(silent),
                must=True,
                cites=cites,
                over=EXAMPLES,
            )
        )
    return drafts


def _most_frequent(made: Part) -> list[Draft]:
    drafts = []
    words = {
        "type": ("types", "Type ", " stands on "),
        "actor": ("actors", "Actor ", " is named in "),
        "source": ("sources", "Source ", " sent "),
    }
    for name, (topic, before, between) in words.items():
        for at, row in enumerate(made["tables"][name]["rows"][:_MOST_NAMED], 1):
            pieces = ours(
                before,
                row["key"],
                f"{between}{plural(row['events'], 'event')} ({_share(row['share_percent'])})",
            )
            drafts.append(
                Draft(f"{name}.{at}", pieces, topic, "counts", row["events"], False, name, row["key"])
            )
    return drafts


def _happened(made: Part) -> list[Draft]:
    told = (
        (
            "outages",
            "alerts",
            "alert says that events may be missing",
            "alerts say that events may be missing",
            True,
        ),
        ("alerts", "alerts", "alert was raised", "alerts were raised", False),
        ("erasures", "erasure", "erasure was ordered", "erasures were ordered", True),
        ("reads", "access", "read of the records is on record", "reads of the records are on record", False),
    )
    drafts = []
    begun = made["listed"]["unfinished_reads"]["of"]
    more = {"reads": f"; {begun:,} {_are(begun)} begun, without an outcome"} if begun else {}
    for name, topic, one, many, must in told:
        count = made["listed"][name]["of"]
        sql = "reads" if name == "reads" else "own"
        if count:
            cites = tuple(at for row in made[name] for at in row["cites"])
            over = ALL if count == len(made[name]) else EXAMPLES
            drafts.append(
                Draft(
                    f"own.{name}",
                    ours(plural(count, one, many) + more.get(name, "")),
                    topic,
                    *(sql, count, must),
                    cites=cites,
                    over=over,
                )
            )
    drill = made["drill"]
    if drill is not None:
        text = f"The last tamper drill {'found' if drill['passed'] else 'FAILED: it found'} {drill['detected']} of {drill['attacks']} attacks on a copy of the log"
        cites = tuple(drill["cites"])
        drafts.append(
            Draft("own.drill", ours(text), "drill", "own_below", must=not drill["passed"], cites=cites)
        )
    return drafts


def _summaries(made: Part) -> list[Draft]:
    ai, pending = made["totals"]["ai"]["events"], made["totals"]["pending"]["events"]
    if not ai and not pending:
        there = " whose content is there" if made["totals"]["erased"]["events"] else ""
        text = ours(f"All summaries and risks of events{there} were made by rules; no AI had a part in them")
        return [Draft("ai.none", text, "ai", "counts", 0)]
    text = ours(
        f"{plural(ai, 'event')} {_are(ai)} summarised by AI, the others by rules; {plural(pending, 'reading')} by AI "
        f"{_are(pending)} still to come"
    )
    return [Draft("ai.summaries", text, "ai", "counts", ai, False, "ai")]
