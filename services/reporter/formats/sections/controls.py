"""Controls: what the records show of each clause, and what they do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.reporter.escape import cut
from services.reporter.formats.blocks import (
    Block,
    Column,
    Heading,
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
    joined,
    plural,
)


def controls(document: Object) -> Section | None:
    """What the records show of controls, and what they do not: never that a rule is kept."""
    lines = [one for one in document.get("controls") or [] if isinstance(one, Mapping)]
    if not lines:
        return None
    note = document.get("controls_note") or _NO_VERDICT
    blocks: list[Block] = [Paragraph([Ours(note)])]
    frameworks: dict[str, list[Object]] = {}
    for one in lines:
        title = " ".join(str(one[key]) for key in ("framework", "edition") if one.get(key))
        frameworks.setdefault(title, []).append(one)
    for title, found in frameworks.items():
        blocks += [Heading(title), *_framework(found)]
    return Section("controls", Ours("Controls"), blocks)


_NO_VERDICT = "Each line says what the records show and what they do not. Whether a rule is met is for whoever audits to say."
_LEADS = ("Events tagged ", "Against it, events tagged ")
_STATES: dict[str, Mark] = {
    "operation": Mark("good", Ours("operation")),
    "exception": Mark("warn", Ours("exception")),
    "nothing": Mark("plain", Ours("nothing")),
}


def _framework(lines: list[Object]) -> list[Block]:
    """A table of the clauses that records speak to, and in a line those that none does."""
    spoken = [one for one in lines if one.get("state") != "nothing"]
    silent = [_clause(one) for one in lines if one.get("state") == "nothing"]
    columns = [
        Column(Ours("Clause"), "text", 0.7), Column(Ours("It asks"), "text", 1.6), Column(Ours("The records show"), "text", 1.8),
        Column(Ours("They do not show"), "text", 1.5), Column(Ours("State"), "text", 0.8), Column(Ours("Records"), "text", 0.6),
    ]  # fmt: skip
    rows: list[list[Text]] = [
        [
            [_clause(one)],
            [Prose(str(one.get("says") or ""))],
            _shown(one.get("shows")),
            [Prose(str(one.get("not_shown") or one.get("does_not_show") or ""))],
            [_STATES.get(str(one.get("state")), Mark("plain", cut(str(one.get("state")), 20)))],
            cites(one),
        ]
        for one in spoken
    ]
    blocks: list[Block] = (
        [Table([plural(len(rows), "clause"), Ours(" that records speak to.")], columns, rows)] if rows else []
    )
    if silent:
        blocks.append(
            Paragraph(
                [
                    Ours(f"No record of this period speaks to {plural(len(silent), 'other')}: "),
                    *joined(silent, 40),
                ],
                quiet=True,
            )
        )
    return blocks


def _clause(one: Object) -> str:
    return str(one.get("clause") or one.get("control") or "")


def _shown(texts: Any) -> Text:
    """One after the other; what begins with the same words has them once: Events tagged data:export: 621, data:file: 882."""
    pieces: list[Any] = []
    before = ""
    for text in map(str, texts if isinstance(texts, list) else [texts]):
        lead = next((lead for lead in _LEADS if text.startswith(lead)), "")
        again = bool(lead) and lead == before
        pieces += [Ours(", " if again else "; ")] if pieces else []
        pieces.append(Prose(text.removeprefix(lead) if again else text))
        before = lead
    return pieces
