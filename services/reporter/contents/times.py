"""Times as the document has them: ISO 8601 in UTC."""

from __future__ import annotations

from datetime import datetime

from services.reporter.period import microseconds, moment


def iso(us: int | None) -> str | None:
    """2026-10-03T12:00:05Z, with a fraction where there is one; None for none. What no calendar has is given in microseconds."""
    if us is None:
        return None
    try:
        text = moment(us).isoformat()
    except OverflowError:
        return f"{us} us since 1970"
    return text.replace("+00:00", "Z")


def iso_of(at: datetime | None) -> str | None:
    """The same of a time with a zone."""
    return None if at is None else iso(microseconds(at))
