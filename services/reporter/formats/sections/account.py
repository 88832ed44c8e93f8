"""What Piperoll itself did, what the report rests on, and the records that it cites."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from services.reporter.formats.blocks import (
    Block,
    Code,
    Column,
    Facts,
    Heading,
    Ours,
    Paragraph,
    Prose,
    Section,
    Table,
    Text,
)
from services.reporter.formats.sections.figures import rows_of
from services.reporter.formats.words import Object, heading, name, number, plural, table_of, when


def _wide(text: str) -> Column:
    return Column(Ours(text), "text", 2)


class _List(NamedTuple):
    """A list of a document: its title, and the columns that it is shown with."""

    title: str
    columns: Mapping[str, str | Column]
    one: str = "record"
    """What a row is."""


_Columns = dict[str, str | Column]
_RECORDED: _Columns = {"recorded": Column(Ours("Recorded (UTC)"), "time", 0.9)}
_RECORD: _Columns = {"cites": Column(Ours("Record"), "text", 0.6)}
_ORDER = (
    _RECORDED | {"by": "By", "reason": _wide("Reason"), "ticket": "Ticket", "events": "Records"} | _RECORD
)
_COUNTED: _Columns = {"sentence": _wide("What"), "events": "Events", "high_risk": "High risk"}
_OWN = {
    "alerts": _List(
        "Alerts", _RECORDED | {"severity": "Severity", "name": "Alert", "text": _wide("What")} | _RECORD
    ),
    "outages": _List(
        "Outages of logging",
        _RECORDED | {"severity": "Severity", "name": "Alert", "text": _wide("What")} | _RECORD,
    ),
    "late": _List(
        "Late, future or undated events",
        _COUNTED | _RECORD,
    ),
    "backfills": _List(
        "Back-fills declared", _RECORDED | {"by": "By", "reason": _wide("Reason"), "file": "File"} | _RECORD
    ),
    "erasures": _List("Erasures", _ORDER),
    "restores": _List("Restorations", _ORDER),
    "destroyed_keys": _List(
        "Keys of subjects destroyed",
        _RECORDED
        | {"by": "By", "reason": _wide("Reason"), "ticket": "Ticket", "key": "Key", "rows": "Events"}
        | _RECORD,
    ),
    "reads": _List(
        "Who read what",
        _RECORDED
        | {"by": "By", "what": "What", "range": _wide("Range"), "count": "Records", "finished": "Ended"}
        | _RECORD,
        "read",
    ),
    "key_changes": _List(
        "Changes of the signing key", _RECORDED | {"by": "By", "reason": _wide("Reason")} | _RECORD
    ),
    "passed_by": _List(
        "Passed by the AI",
        _RECORDED | {"reason": _wide("Reason"), "model": "Model", "count": "Events"} | _RECORD,
    ),
    "editions": _List(
        "Editions made",
        _RECORDED | {"edition": "Edition", "by": "By", "why": "Why", "verdict": _wide("Verdict")} | _RECORD,
    ),
    "signatures": _List(
        "Editions signed",
        _RECORDED
        | {"edition": "Edition", "by": "By", "role": "Role", "statement": _wide("Statement")}
        | _RECORD,
    ),
}
_METHOD = (
    "Before anything was counted, every chain of records was recomputed: hashes, links, numbers, source offsets, times, and "
    "the commitments to payloads and enrichments. Counting was done by SQL in the same snapshot of the database. Texts of events "
    "are shown as they came, shortened; characters that cannot be seen or drawn are written as [U+…]."
)
_GLOSSARY = {
    "Record": "227 bytes that stand for one event, repeat, unreadable message or other fact, and name the hash of the record before.",
    "Chain": "The records of one partition of a Kafka topic, each linked to the one before. [3:17] is record 17 of chain 3.",
    "Source offset": "The place of a message in its Kafka partition. Each belongs to exactly one record; a skip stands for those that hold no event.",
    "Seal": "The sizes and roots of all chains at one time, in a log of its own, whose checkpoints are signed.",
    "Edition": "A report cut at one seal. Its hash is the SHA-256 of its JSON, byte for byte.",
    "Risk": "Informational, low, medium, high or critical: the highest that rules or AI gave.",
    "Repeat": "A message with the source, id and bytes of one already recorded. It is noted and not counted as an event.",
    "Dead letter": "A message that could not be read as an event, kept in Kafka as well as in its record.",
}


def events_of_ours(document: Object) -> Section | None:
    """Alerts, outages, erasures, reads, back-fills, retention: what happened, and in one line what did not."""
    blocks: list[Block] = []
    none: list[str] = []
    for key, told in _OWN.items():
        rows = document.get(key)
        if rows:
            listed = (document.get("listed") or {}).get(key) or {}
            blocks += [
                Heading(Ours(told.title)),
                table_of(_caption(listed, len(rows), told.one), _objects(rows), told.columns),
            ]
        elif key in document:
            none.append(told.title.lower())
    if document.get("retention"):
        blocks += [Heading(Ours("Retention")), *_retention(document["retention"])]
    if none:
        blocks.append(Paragraph([Ours(f"None of these: {', '.join(none)}.")], quiet=True))
    return Section("own", Ours("What was done with the log"), blocks) if blocks else None


def _objects(rows: Any) -> list[Object]:
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def _caption(listed: Object, shown: int, one: str) -> str:
    total = int(listed.get("of") or shown)
    return (
        f"{shown:,} of {total:,}; all are records of the system's chain."
        if total > shown
        else f"{plural(total, one)}."
    )


def _retention(found: Object) -> list[Block]:
    gone = found.get("payloads_gone_to_the_end_of")
    lines: list[Block] = (
        [Paragraph([Ours("Payloads are gone, on recorded orders, to the end of "), name(gone), Ours(".")])]
        if gone
        else [Paragraph([Ours("No payload has gone by age.")])]
    )
    orders = _objects(found.get("orders"))
    if orders:
        columns = (
            _RECORDED
            | {"by": "By", "reason": _wide("Reason"), "month": "Month", "payloads": "Payloads"}
            | _RECORD
        )
        lines.append(table_of(f"{plural(len(orders), 'order')} in this period.", orders, columns))
    return lines


def attachments(document: Object) -> Section | None:
    """Files beside the report, with their hashes."""
    files = document.get("attachments") or []
    if not files:
        return None
    columns = [
        Column(Ours("File"), "text", 1),
        Column(Ours("What"), "text", 1.6),
        Column(Ours("Events"), "number", 0.6),
        Column(Ours("Bytes"), "number", 0.7),
        Column(Ours("SHA-256"), "code", 2.4),
    ]
    rows: list[list[Text]] = [
        [
            [str(file.get("name", ""))],
            [Prose(str(file.get("about", "")))],
            [number(file.get("rows"))],
            [number(file.get("size"))],
            [Code(str(file.get("sha256", "")))],
        ]
        for file in files
    ]
    caption = Ours("Files beside this report. The hashes show whether they are the ones made with it.")
    return Section("attachments", Ours("Attachments"), [Table([caption], columns, rows)])


def method(document: Object) -> Section | None:
    """How it was made, and what the words mean."""
    said_here = document.get("method") or [_METHOD]
    lines = [said_here] if isinstance(said_here, str) else said_here
    blocks: list[Block] = [Paragraph([Prose(str(line))]) for line in lines]
    blocks.append(Facts(_glossary(document.get("glossary") or _GLOSSARY)))
    return Section("method", Ours("Method and glossary"), blocks)


def _glossary(found: Any) -> list[tuple[str, Text]]:
    if isinstance(found, Mapping):
        return [(heading(word), [Prose(str(meaning))]) for word, meaning in found.items()]
    return [
        (
            heading(one.get("term") or one.get("word") or ""),
            [Prose(str(one.get("text") or one.get("meaning") or ""))],
        )
        for one in found
    ]


def software(document: Object) -> Section | None:
    """The versions of all that had a part in it, and the edition's differences from the one it replaces."""
    found = document.get("software")
    edition = document.get("edition") or {}
    blocks: list[Block] = []
    if isinstance(found, Mapping):
        blocks.append(Facts([(heading(what), [Code(str(version))]) for what, version in found.items()]))
    elif found:
        blocks.append(Paragraph([str(found)]))
    blocks += _judged(document.get("judged_by"))
    if edition.get("differs"):
        blocks += [
            Heading(Ours("Figures that differ from the edition replaced")),
            rows_of(edition["differs"], "Differences"),
        ]
    return Section("software", Ours("Software"), blocks) if blocks else None


def _judged(found: Any) -> list[Block]:
    """The versions of what judged the events, by the events' own records."""
    if not isinstance(found, Mapping) or not (found.get("versions") or found.get("unstated")):
        return []
    blocks: list[Block] = [Heading(Ours("What judged the events"))]
    rows, of = _objects(found.get("versions")), int(found.get("of") or 0)
    if rows:
        columns = {"rules": "Rules", "mappings": "Mappings", "catalog": "Catalogue", "events": "Events"}
        left = f" The {len(rows)} with the most events of {of:,}." if of > len(rows) else ""
        blocks.append(
            table_of(
                f"Versions of rules, mappings and catalogue, as the record of each event states them.{left}",
                rows,
                columns | {"cites": "First record"},
            )
        )
    if found.get("unstated"):
        rest = Ours(" not state it: their content is gone, or never did.")
        count = int(found["unstated"])
        blocks.append(
            Paragraph([plural(count, "event"), Ours(" does" if count == 1 else " do"), rest], quiet=True)
        )
    return blocks


def cited(document: Object) -> Section | None:
    """All records that the report names, with their hashes."""
    found = document.get("cited") or []
    if not found:
        return None
    columns = [
        Column(Ours("Record"), "text", 0.6),
        Column(Ours("Recorded (UTC)"), "time", 1),
        Column(Ours("Record hash (SHA-256)"), "code", 3),
    ]
    rows: list[list[Text]] = [
        [
            [str(one.get("record", ""))],
            [when(one.get("appended_at") or one.get("recorded"))],
            [Code(str(one.get("hash", "")))],
        ]
        for one in found
    ]
    anchors = [f"r-{str(one.get('record', '')).replace(':', '-')}" for one in found]
    caption = [plural(len(found), "record"), Ours(" that this report names.")]
    return Section("records", Ours("Records cited"), [Table(caption, columns, rows, anchors=anchors)])
