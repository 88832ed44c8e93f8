"""A report with one text put in every place where an event's text can stand, and nothing of a database."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from schemas.chain import ChainVerifier
from schemas.verification.findings import Change, Finding, Part
from services.reporter.account import as_json
from services.reporter.figures import Citation, Event, Figure, Figures, Hit, SequenceGaps, Table
from services.reporter.period import month
from services.reporter.summary import Sentence, executive_summary
from services.reporter.verify import Verification
from tests.chain_rows import ChainRows
from tests.report_document import document

START = datetime(2026, 10, 1, tzinfo=UTC)
FINDING = Finding(
    1, Change.EDITED, Part.PAYLOAD, "body or salt is not what the record commits to", 17, source_offset=16
)


def verification(*findings: Finding) -> Verification:
    """Of a small good chain, with findings put beside it."""
    rows = ChainRows().events(20)
    verifier = ChainVerifier(rows.info, rows.head)
    verifier.feed(rows.rows, rows.contents)
    return Verification([verifier.finish()], list(findings), seconds=1.0)


def report(text: str = "plain", *, findings: tuple[Finding, ...] = ()) -> dict[str, Any]:
    """The document of October 2026 with `text` as every text of an event, and a verification that found this."""
    return document(text, integrity=as_json(verification(*findings)))


def sentences(text: str = "plain") -> list[Sentence]:
    """The executive summary of figures with `text` in them."""
    return executive_summary(month("2026-10"), filled(text), [1], 1)


def filled(text: str) -> Figures:
    """Figures with `text` as type, source, actor, tag, rule, summary and all else."""
    one = Figure(text, 12, 3, Decimal("40.0"), 1)
    table = Table([one], 1)
    rule = one._replace(key=json.dumps([text, text, "high"]))
    problem = one._replace(key=json.dumps([text, "catalog:unknown"]))
    days = Table([Figure("2026-10-05", 12, 3, Decimal("100.0"), 1), Figure("2026-10-06", 18, 0, None, 2)], 2)
    who = dict.fromkeys(("actor", "action", "resource", "origin", "outcome"), text)
    event = Event(
        1, START, text, text, text, text, "high", None, "low", [text], who, [Hit(text, text, text)] * 2
    )
    tables = dict.fromkeys(("type", "source", "actor", "by", "tag", "noticed"), table)
    tables |= {"risk": table, "rule": Table([rule], 1), "catalogue": Table([problem], 1), "day": days}
    unreadable = {
        "id": 2,
        "appended_at": START,
        "ai_summary": text,
        "kafka_topic": text,
        "kafka_partition": 0,
        "kafka_offset": 7,
    }
    citations = {at: Citation(1, at, f"{at:064x}", START + timedelta(seconds=at), 1) for at in (1, 2)}
    single = {"all": Figure("", 30, 3, Decimal("100.0"), 1), "poison": Figure("", 1, 0, Decimal("3.3"), 2)}
    gaps = [SequenceGaps(text, 3, 2, "17-18, 25", 1)]
    own = {2: Figure("", 4, 0, None, 2)}
    return Figures(single, tables, own, [event] * 3, [unreadable], citations, gaps)
