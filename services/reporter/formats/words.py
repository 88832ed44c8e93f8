"""Numbers, times and lists in words, as every format writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from services.reporter.escape import cut
from services.reporter.formats.blocks import Cite, Column, Ours, Piece, Prose, Table, Text

_MONTH = re.compile(r"(\d{4})-(\d{2})")
_RECORD = re.compile(r"[0-9]{1,9}:[0-9]{1,18}")
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_ -]{0,39}")
_NAME = 120
_LONGEST = 400
_DASH = Ours("\N{EN DASH}")

Object = Mapping[str, Any]


def number(value: float | None) -> Ours:
    """1,234; a dash for what is not known."""
    if value is None or isinstance(value, bool):
        return _DASH
    return Ours(f"{value:,}" if isinstance(value, int) else f"{value:,.1f}")


def plural(count: int, word: str, many: str | None = None) -> Ours:
    """1 event, 2 events."""
    return Ours(f"{count:,} {word if count == 1 else many or word + 's'}")


def duration(seconds: float | None) -> Ours:
    """3.2 s, 5 min, 2.5 h, 41.0 days; a dash for none."""
    if seconds is None:
        return _DASH
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= size * (2 if unit == "days" else 1):
            count = seconds / size
            return Ours(f"{count:,.0f} {unit}" if count == int(count) else f"{count:,.1f} {unit}")
    return Ours(f"{seconds:,.1f} s")


def share(percent: float | None) -> Ours:
    """Something is never written as nothing."""
    if percent is None:
        return _DASH
    return Ours("under 0.1 %" if 0 < percent < 0.1 else f"{percent:.1f} %")


def when(time: Any) -> str:
    """2026-10-03 12:00:05 of an ISO 8601 time, in the zone in which it stands, which is UTC where nothing follows."""
    try:
        found = datetime.fromisoformat(str(time))
    except ValueError:
        return str(time or "")
    zone = "" if not found.utcoffset() else f" {found:%z}"
    return Ours(f"{found:%Y-%m-%d %H:%M:%S}{zone}")


def heading(key: Any) -> str:
    """A document's key as words: `new_actors` is New actors. Only keys of plain letters are ours."""
    text = str(key)
    told = text.replace("_", " ")
    return Ours(told[:1].upper() + told[1:]) if _KEY.fullmatch(text) else text


def moment(us: Any) -> str:
    """ISO 8601 of microseconds since 1970 UTC."""
    return datetime.fromtimestamp(us / 1_000_000, UTC).isoformat() if isinstance(us, int) else ""


def local(time: Any) -> str:
    """2026-10-01 00:00 of an ISO 8601 time, by the clock of its own zone, which stands beside it."""
    try:
        found = datetime.fromisoformat(str(time))
    except ValueError:
        return str(time or "")
    return Ours(f"{found:%Y-%m-%d %H:%M}" if not found.second else f"{found:%Y-%m-%d %H:%M:%S}")


def period_title(period: Object) -> str:
    """October 2026; a label that is no month stays what it is."""
    label = str(period.get("label", ""))
    found = _MONTH.fullmatch(label)
    if found is None or not 1 <= int(found[2]) <= 12:
        return label
    return Ours(f"{datetime(int(found[1]), int(found[2]), 1):%B %Y}")  # noqa: DTZ001 - a name


def cites(item: Object | Sequence[Any] | None) -> list[Piece]:
    """The records that something rests on: of an object with `cites`, or of a list of `{record, hash}` or of `3:17`."""
    found = item.get("cites") or [] if isinstance(item, Mapping) else item or []
    records = [one.get("record") if isinstance(one, Mapping) else one for one in found]
    return [Cite(record) for record in records if isinstance(record, str) and _RECORD.fullmatch(record)]


def name(text: Any, limit: int = _NAME) -> str:
    """A name out of an event, shortened; an empty one is said to be."""
    return cut(str(text), limit) if text not in (None, "") else Ours("(empty)")


def joined(texts: Iterable[Any], limit: int = _NAME) -> list[Piece]:
    """a, b, c."""
    pieces: list[Piece] = []
    for text in texts:
        pieces += [Ours(", "), name(text, limit)] if pieces else [name(text, limit)]
    return pieces


def said(value: Any) -> list[Piece]:  # noqa: PLR0911 - a line for each type
    """Anything that may stand in a document, as text."""
    if value is None or value == "":
        return [_DASH]
    if isinstance(value, bool):
        return [Ours("yes" if value else "no")]
    if isinstance(value, int | float):
        return [number(value)]
    if isinstance(value, Mapping):
        return cites([value]) if "record" in value and "hash" in value else _pairs(value)
    if isinstance(value, list):
        if value and all(isinstance(one, Mapping) and "record" in one for one in value):
            return cites(value)
        return _listed(value)
    return [Prose(cut(str(value), _LONGEST))]


def _pairs(value: Object) -> list[Piece]:
    pieces: list[Piece] = []
    for key, inner in value.items():
        pieces += [Ours("; ")] if pieces else []
        pieces += [heading(key), Ours(": "), *said(inner)]
    return pieces


def _listed(values: list[Any]) -> list[Piece]:
    pieces: list[Piece] = []
    for value in values[:50]:
        pieces += [Ours(", "), *said(value)] if pieces else said(value)
    return pieces + ([Ours(f" and {len(values) - 50:,} more")] if len(values) > 50 else []) or [_DASH]


def table_of(
    caption: str, rows: Sequence[Object], columns: Mapping[str, str | Column], most: int = 200
) -> Table:
    """A table of objects, a column for each of `columns`: key and heading. A key `cites` gives the records."""
    headings = [
        Column(Ours(one), "number" if _is_number(key, rows) else "text") if isinstance(one, str) else one
        for key, one in columns.items()
    ]
    made: list[list[Text]] = [[_cell(key, row) for key in columns] for row in rows[:most]]
    left = [Ours(f" The first {most} of {len(rows):,}.")] if len(rows) > most else []
    return Table([Ours(caption), *left], headings, made)


def _is_number(key: str, rows: Sequence[Object]) -> bool:
    found = [row[key] for row in rows if row.get(key) is not None]
    return bool(found) and all(isinstance(one, int | float) and not isinstance(one, bool) for one in found)


def _cell(key: str, row: Object) -> Text:
    value = row.get(key)
    if key == "cites":
        return cites(row)
    if isinstance(value, str) and key.endswith(
        ("time", "_at", "recorded", "start", "end", "since", "until", "last_event")
    ):
        return [when(value)]
    return said(value)
