"""A report with one text put in every place where an event's text can stand, and nothing of a database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from schemas.chain import ChainVerifier
from schemas.verification.findings import Change, Finding, Part
from services.reporter.account import as_json
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
