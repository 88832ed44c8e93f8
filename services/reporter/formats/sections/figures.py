"""What was counted: by day, type, risk, actor and source; what is new; rules and AI; what is irregular."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from services.reporter.escape import cut
from services.reporter.formats.blocks import (
    Bar,
    Block,
    Chart,
    Column,
    Facts,
    Heading,
    Listing,
    Mark,
    Ours,
    Paragraph,
    Prose,
    Section,
    Table,
    Text,
)
from services.reporter.formats.words import (
    Object,
    cites,
    duration,
    heading,
    name,
    number,
    period_title,
    plural,
    said,
    share,
    table_of,
    when,
)

_TABLES = {
    "risk": ("By risk", "Risk", "Events by their highest risk, by rules and AI together."),
    "type": ("By type", "Type", "Events by type."),
    "actor": ("By actor", "Actor", "Events by the actor that they name."),
    "source": ("By source", "Source", "Events by source."),
}
_PARTS = ("rule", "catalogue")
"""Tables whose keys are lists in JSON."""


def figures(document: Object) -> Section | None:
    """A chart by day, and tables."""
    blocks: list[Block] = [Heading(Ours("By day")), *_by_day(document), *_erased(document)]
    for key, (title, what, caption) in _TABLES.items():
        blocks += [Heading(Ours(title)), counts(document, key, what, caption)]
    return Section("figures", Ours("Figures"), blocks)


def _erased(document: Object) -> list[Block]:
    """Why the tables do not add up to the days."""
    erased = int(((document.get("totals") or {}).get("erased") or {}).get("events") or 0)
    told = (
        " erased or retained away: counted by day, and in none of the tables by risk, type, actor and source."
    )
    return [Paragraph([plural(erased, "event"), Ours(told)])] if erased else []


def _by_day(document: Object) -> list[Block]:
    bars = [_bar(day) for day in document.get("by_day") or []]
    if not bars:
        return [Paragraph([Ours("No day has events.")])]
    most = max(bars, key=lambda bar: bar.events)
    total, grave = sum(bar.events for bar in bars), sum(bar.grave for bar in bars)
    told = Ours(
        f"Bar chart of events by day: {len(bars)} days, {total:,} events, {grave:,} of them of high or critical risk; the most on "
        f"{most.label}, {most.events:,}. The table that follows has the numbers."
    )
    rows: list[list[Text]] = [[[bar.label], [number(bar.events)], [number(bar.grave)]] for bar in bars]
    columns = [
        Column(Ours("Day")),
        Column(Ours("Events"), "number"),
        Column(Ours("High or critical risk"), "number"),
    ]
    title = Ours("Events by day; those of high or critical risk at the foot of a bar, in another tone.")
    return [
        Chart(title, told, bars),
        Table([Ours("The numbers of the chart by day.")], columns, rows, folded=True),
    ]


def _bar(day: Object) -> Bar:
    label = str(day.get("day") or day.get("date") or day.get("key") or "")
    try:
        label = f"{date.fromisoformat(label):%Y-%m-%d}"
    except ValueError:
        label = ""
    return Bar(Ours(label), int(day.get("events") or 0), int(day.get("high_risk") or 0))


def counts(document: Object, key: str, what: str, caption: str) -> Block:
    """A table of figures by key, the most frequent first."""
    table = (document.get("tables") or {}).get(key) or {}
    rows = table.get("rows") or []
    if not rows:
        return Paragraph([Ours(f"{what}: none.")], quiet=True)
    keys = int(table.get("keys") or len(rows))
    where = "; all are in the attachments" if document.get("attachments") else ""
    left = f" The {len(rows)} most frequent of {keys:,}{where}." if keys > len(rows) else ""
    most = max((int(row.get("events") or 0) for row in rows), default=0) or 1
    columns = [
        Column(Ours(what), "text", 2.2), Column(Ours("Events"), "number", 0.8), Column(Ours("Share"), "number", 0.8),
        Column(Ours("High risk"), "number", 0.8), Column(Ours("First record"), "text", 0.9),
    ]  # fmt: skip
    made: list[list[Text]] = [
        [
            _key(key, row.get("key")),
            [number(row.get("events"))],
            [share(row.get("share_percent"))],
            [number(row.get("high_risk"))],
            cites(row),
        ]
        for row in rows
    ]
    shares = [int(row.get("events") or 0) / most for row in rows]
    return Table([Ours(caption + left)], columns, made, shares=shares)


def _key(table: str, key: Any) -> Text:
    if table in _PARTS and isinstance(key, str):
        try:
            parts = json.loads(key)
        except ValueError:
            parts = None
        if isinstance(parts, list) and parts:
            pieces: list[Any] = [name(parts[-2] if len(parts) > 1 else parts[0])]
            return [*pieces, Ours(": "), name(parts[-1], 60)] if len(parts) > 1 else pieces
    return [name(key)]


_NEW = {"new_actors": "New actors", "new_types": "New kinds of events", "new_sources": "New sources"}


def changes(document: Object) -> Section | None:
    """What was not there before, what fell silent, and what differs from the last period."""
    found = document.get("changes")
    if not found:
        return None
    if found.get("nothing_before"):
        told = "There is no record before this period: nothing to compare with."
        return Section("changes", Ours("Changes"), [Paragraph([Ours(told)])])
    blocks: list[Block] = []
    for key, title in _NEW.items():
        blocks += [Heading(Ours(title)), _new(found.get(key), title)]
    blocks += [
        Heading(Ours("Sources that fell silent")),
        rows_of(found.get("silent_sources"), "Sources of the last period without an event in this one"),
    ]
    last = found.get("last_period") or {}
    title = Ours(f"Against the last period{', ' + str(period_title(last)) if last.get('label') else ''}")
    blocks += [Heading(title), _against(found.get("against_last_period"))]
    return Section("changes", Ours("Changes"), blocks)


def _new(value: Any, title: str) -> Block:
    rows = value.get("rows") if isinstance(value, Mapping) else value
    total = int(value.get("of") or 0) if isinstance(value, Mapping) else len(rows or [])
    if not isinstance(rows, list) or not rows:
        return Paragraph([Ours(f"{total:,} not seen before." if total else "None.")])
    if not all(isinstance(row, Mapping) and "key" in row for row in rows):
        return rows_of(rows, title)
    left = (
        f"The {len(rows):,} most frequent of {total:,} not seen before."
        if total > len(rows)
        else "Not seen before."
    )
    columns = [
        Column(Ours("Name"), "text", 2),
        Column(Ours("Events"), "number"),
        Column(Ours("High risk"), "number"),
        Column(Ours("First record")),
    ]
    made: list[list[Text]] = [
        [[name(row["key"])], [number(row.get("events"))], [number(row.get("high_risk"))], cites(row)]
        for row in rows
    ]
    return Table([Ours(left)], columns, made)


def _against(rows: Any) -> Block:
    found = [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
    if not found:
        return Paragraph([Ours("Nothing to compare with.")])
    columns = [
        Column(Ours("Figure"), "text", 2.4),
        Column(Ours("Before"), "number"),
        Column(Ours("Now"), "number"),
        Column(Ours("Change"), "number"),
    ]
    return Table(
        [Ours("Figures of both periods, by the same rule and below the same cut.")],
        columns,
        [_compared(row) for row in found],
    )


def _compared(row: Object) -> list[Text]:
    named: list[Any] = [Prose(str(row.get("figure", "")))]
    if row.get("key"):
        named += [Ours(": "), name(row["key"])]
    percent = row.get("change_percent")
    change = "" if percent is None else f"{percent:+,.1f} %"
    return [named, [number(row.get("before"))], [number(row.get("now"))], [Ours(change or "\N{EN DASH}")]]


def rows_of(rows: Any, caption: str) -> Block:
    """A table of whatever objects there are, or a list of texts."""
    if isinstance(rows, Sequence) and not isinstance(rows, str) and rows:
        if all(isinstance(row, Mapping) for row in rows):
            keys = {key: heading(key) for row in rows for key in row if key != "hash"}
            return table_of(f"{caption}.", rows, _ordered(keys))
        return Listing([said(row) for row in rows[:200]])
    return Paragraph([Ours("None.")] if not rows else said(rows))


def _ordered(keys: dict[str, str]) -> dict[str, str | Column]:
    """At most seven columns, the records last."""
    last = {key: text for key, text in keys.items() if key == "cites"}
    rest = {key: text for key, text in keys.items() if key not in ("cites", "record")}
    if last:
        return dict([*list(rest.items())[:6], ("cites", "Record")])
    return dict(list(keys.items())[:7])


def rules_and_ai(document: Object) -> Section | None:
    """Who judged what."""
    pending = (document.get("totals") or {}).get("pending") or {}
    waiting = int(pending.get("events") or 0)
    blocks: list[Block] = [
        Paragraph(
            [
                Ours(
                    "Rules give each event its least risk. AI may raise it and add to it, never lower it. Each summary says who made it."
                )
            ]
        ),
        counts(
            document, "by", "Made by", "Who made the latest summary of each event: rules, or the model named."
        ),
        counts(document, "rule", "Rule and level", "Rules that fired."),
        Paragraph(
            [
                plural(waiting, "event"),
                Ours(" still waiting for a reading by AI; what stands here of them is by rules."),
            ]
        ),
    ]
    account = document.get("ai")
    if account:
        blocks += [Heading(Ours("Account of AI")), *_account(account)]
    return Section("ai", Ours("Rules and AI"), blocks)


def _account(account: Object) -> list[Block]:
    plain = [(heading(key), _counted(value)) for key, value in account.items() if not isinstance(value, list)]
    blocks: list[Block] = [Facts(plain)] if plain else []
    return [
        *blocks,
        *(
            rows_of(value, str(heading(key)))
            for key, value in account.items()
            if isinstance(value, list) and value
        ),
    ]


def _counted(value: Any) -> Text:
    if isinstance(value, Mapping) and "events" in value:
        return [plural(int(value["events"] or 0), "event"), *cites(value)]
    return said(value)


def irregular(document: Object) -> Section | None:
    """What could not be read, what is missing, what came twice, what was odd."""
    totals = document.get("totals") or {}
    unread, unchecked = totals.get("poison") or {}, totals.get("unchecked") or {}
    blocks: list[Block] = [Heading(Ours("Messages that could not be read"))]
    shown = document.get("unreadable") or []
    if shown:
        blocks.append(_unreadable(shown, int(unread.get("events") or len(shown))))
    else:
        blocks.append(Paragraph([Ours("None.")]))
    blocks += [Heading(Ours("Records that are no events")), _others(document)]
    blocks += [
        Heading(Ours("Repeats of erased events")),
        Paragraph(
            [
                number(int(unchecked.get("events") or 0)),
                Ours(" could not be compared with what was erased (identity:unchecked, high risk)."),
                *cites(unchecked),
            ]
        ),
        Heading(Ours("Numbers missing in the sequences of sources")),
        _gaps(document.get("sequence_gaps") or []),
        Heading(Ours("Clocks")),
        *_clocks(document.get("clock_skew") or {}),
        Heading(Ours("Noticed about events")),
        counts(
            document,
            "noticed",
            "Tag",
            "Tags that say something was odd: with the catalogue, times, identities, sources or the form.",
        ),
        counts(document, "catalogue", "Type and problem", "Types that do not agree with the catalogue."),
    ]
    return Section("irregular", Ours("Irregularities"), blocks)


def _unreadable(rows: list[Any], total: int) -> Block:
    caption = [
        plural(total, "message"),
        Ours(", kept as they came: as a dead letter, and as a record in their place."),
    ]
    caption += [Ours(f" The first {len(rows)} are shown.")] if total > len(rows) else []
    columns = [
        Column(Ours("Recorded (UTC)"), "time"),
        Column(Ours("Where it stood"), "text", 1.4),
        Column(Ours("Why"), "text", 2),
        Column(Ours("Record"), "text", 0.6),
    ]
    made: list[list[Text]] = [
        [
            [when(row.get("appended_at") or row.get("recorded"))],
            [
                name(row.get("kafka_topic") or row.get("topic")),
                Ours(" / "),
                number(row.get("kafka_partition", row.get("partition"))),
                Ours(" / "),
                number(row.get("kafka_offset", row.get("offset"))),
            ],
            [cut(str(row.get("ai_summary") or row.get("reason") or row.get("why") or ""), 200)],
            cites(row),
        ]
        for row in rows
    ]
    return Table(caption, columns, made)


def _others(document: Object) -> Block:
    found = document.get("other_records") or []
    if isinstance(found, Mapping):
        return Facts([(heading(what), said(count)) for what, count in found.items()])
    rows: list[tuple[str, Text]] = [
        (Ours(str(one.get("name", ""))), [number(one.get("records")), *cites(one)]) for one in found
    ]
    return Facts(rows) if rows else Paragraph([Ours("None in this period.")])


def _clocks(found: Object) -> list[Block]:
    """Events whose own time is far from their recording: a sentence for each side, and a table by source."""
    ahead, behind = found.get("ahead") or {}, found.get("behind") or {}
    limits = duration(found.get("ahead_limit_s")), duration(found.get("behind_limit_s"))
    if not (ahead.get("events") or behind.get("events")):
        told = f"No event is dated more than {limits[0]} ahead of its recording or {limits[1]} behind it."
        return [Paragraph([Mark("good", Ours(told))])] if found else [Paragraph([Ours("Not counted.")])]
    sides = [
        _apart(ahead, f"dated more than {limits[0]} ahead of being recorded", ": a clock that is fast"),
        _apart(
            behind,
            f"recorded more than {limits[1]} after the time stated",
            ": a slow clock, or events that came late; the records do not tell which",
        ),
    ]
    rows = [
        {
            "source": row.get("source"),
            **{
                f"{side}_{name}": _of_side(row, side, name)
                for side in ("ahead", "behind")
                for name in ("events", "most")
            },
            "cites": [
                *((row.get("ahead") or {}).get("cites") or []),
                *((row.get("behind") or {}).get("cites") or []),
            ],
        }
        for row in found.get("by_source") or []
    ]
    total = int(found.get("sources") or len(rows))
    left = f" The {len(rows)} with the most of {total:,}." if total > len(rows) else ""
    columns: dict[str, str | Column] = {
        "source": Column(Ours("Source"), "text", 1.6),
        "ahead_events": "Ahead",
        "ahead_most": Column(Ours("Furthest ahead"), "number"),
        "behind_events": "Behind",
        "behind_most": Column(Ours("Furthest behind"), "number"),
        "cites": "First records",
    }
    return [Listing(sides), table_of(f"By source: events so far ahead or behind.{left}", rows, columns)]


def _apart(side: Object, what: str, why: str) -> Text:
    count = int(side.get("events") or 0)
    most = f"{why}; the furthest by {duration(side.get('most_s'))}" if count else ""
    return [plural(count, "event"), Ours(f" {what}{most}."), *cites(side)]


def _of_side(row: Object, side: str, name: str) -> Any:
    found = row.get(side) or {}
    return int(found.get("events") or 0) if name == "events" else duration(found.get("most_s"))


def _gaps(gaps: list[Any]) -> Block:
    if not gaps:
        return Paragraph([Mark("good", Ours("None, among the sources that number their events."))])
    caption = Ours(
        "Events that their sources numbered (CloudEvents extension sequence) and that are in no record."
    )
    columns = [
        Column(Ours("Source"), "text", 1.6),
        Column(Ours("Missing"), "number", 0.7),
        Column(Ours("Numbers"), "text", 1.6),
        Column(Ours("Record before"), "text", 0.8),
    ]
    return Table(
        [caption],
        columns,
        [
            [
                [name(gap.get("source"))],
                [number(gap.get("missing"))],
                [cut(str(gap.get("numbers", "")), 300)],
                cites(gap),
            ]
            for gap in gaps
        ],
    )
