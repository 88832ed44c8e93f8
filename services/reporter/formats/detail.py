"""What a recipient may see of a document: `full`, `pseudonymous` or `figures`.

Pseudonyms are numbers in the order in which names come up in the document, so nothing can be guessed from them, and the same
name has the same number throughout an edition. What holds free text of an event or of a person goes altogether, since
nobody can say which names stand in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from services.reporter.document import edition_hash
from services.reporter.escape import visible

Detail = Literal["figures", "pseudonymous", "full"]
DETAILS: tuple[Detail, ...] = ("figures", "pseudonymous", "full")
_PEOPLE = {
    "actor": "actor",
    "user": "actor",
    "resource": "resource",
    "subject": "resource",
    "origin": "origin",
}
"""Fields that name somebody or something, and the word before their number."""
_FREE = frozenset(("event_data", "payload"))
_REDACTED = frozenset(("summary", "ai_summary", "evidence", "why", "text"))
"""Texts of events, readings by AI and alerts that may hold any name."""
_WITH_TEXTS = frozenset(("high_risk", "alerts", "outages"))
_PERSON_TABLES = {"actor": "actor", "resource": "resource", "origin": "origin", "subject": "resource"}
_OURS = frozenset(
    (
        "format",
        "edition",
        "period",
        "cut",
        "made",
        "software",
        "integrity",
        "drill",
        "method",
        "glossary",
        "cited",
        "detail",
    )
)
"""Keys of a document in which no name of an event stands."""
_SHORTEST = 3
"""Names shorter than this are looked for within texts only where they stand in quotes, as facts put them."""


def with_detail(document: Mapping[str, Any], detail: Detail) -> dict[str, Any]:
    """The document as a recipient of this detail sees it. Below full it is a copy with another hash than the edition's, and
    names that as `edition_sha256`."""
    if detail == "full":
        return dict(document)
    if detail not in DETAILS:
        raise ValueError(f"detail is one of {', '.join(DETAILS)}, not {detail!r}")
    seen = _Names()
    made = {key: value if key in _OURS else seen.taken(value, key) for key, value in document.items()}
    made |= {key: _without_texts(made[key]) for key in _WITH_TEXTS & made.keys()}
    if detail == "figures":
        made = _figures_alone(made)
    made["attachments"] = []
    made["detail"] = detail
    shown = {key: value if key in _OURS else seen.cleaned(value) for key, value in made.items()}
    return shown | {"edition_sha256": edition_hash(document)}


def _figures_alone(document: dict[str, Any]) -> dict[str, Any]:
    """Counts by type, source, risk and day stay; lists of events and of names go, with how many they were."""
    shown = document.get("high_risk") or {}
    document["high_risk"] = {"shown": 0, "of": shown.get("of", len(shown.get("events") or [])), "events": []}
    tables = document.get("tables") or {}
    document["tables"] = {
        name: _counted(table) if name in _PERSON_TABLES else table for name, table in tables.items()
    }
    reviews, changes = document.get("reviews"), document.get("changes")
    if isinstance(reviews, dict):
        document["reviews"] = reviews | {"carried_over": []}
    if isinstance(changes, dict):
        new = changes.get("new_actors")
        count = new.get("of", 0) if isinstance(new, dict) else len(new or [])
        document["changes"] = changes | {"new_actors": {"shown": 0, "of": count, "rows": []}}
    for name in (
        "alerts",
        "erasures",
        "outages",
        "reads",
        "restores",
        "destroyed_keys",
        "unreadable",
        "late",
        "backfills",
        "signatures",
        "editions",
    ):
        if isinstance(document.get(name), list):
            document[name] = []
    return document


def _counted(table: Any) -> Any:
    return {"rows": [], "shown": 0, "keys": table.get("keys", 0)} if isinstance(table, dict) else table


class _Names:
    """The pseudonyms of one edition."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}

    def _named(self, word: str, text: str) -> str:
        count = sum(1 for kind, _ in self._known if kind == word) + 1
        return self._known.setdefault((word, text), f"{word} {count}")

    def taken(self, value: Any, key: str = "", table: str | None = None) -> Any:
        """`value` without names in the fields that hold them, and without free text."""
        if isinstance(value, Mapping):
            return self._object(value, key, table)
        if isinstance(value, list):
            word = _PERSON_TABLES.get(key.removeprefix("new_").removesuffix("s"))
            return [self.taken(one, key, word if table is None else table) for one in value]
        if isinstance(value, str) and value:
            word = _PEOPLE.get(key) or (table if key == "key" else None)
            return value if word is None else self._named(word, value)
        return value

    def _object(self, value: Mapping[str, Any], key: str, table: str | None) -> dict[str, Any]:
        inner = _PERSON_TABLES.get(key.removeprefix("new_").removesuffix("s"), table)
        made: dict[str, Any] = {}
        for name, one in value.items():
            if name in _FREE:
                continue
            made[name] = "" if name == "event_id" else self.taken(one, name, inner)
        return made

    def cleaned(self, value: Any) -> Any:
        """`value` with the names that are known by now replaced within texts too, the longest first."""
        names = {visible(text): alias for (_, text), alias in self._known.items()}
        names |= {text: alias for (_, text), alias in self._known.items()}
        if not names:
            return value
        by_length = sorted(names, key=len, reverse=True)
        long = "|".join(re.escape(text) for text in by_length if len(text) >= _SHORTEST)
        quoted = "|".join(re.escape(text) for text in by_length)
        pattern = re.compile(rf"(?<=“)(?:{quoted})(?=”)" + (rf"|(?<!\w)(?:{long})(?!\w)" if long else ""))
        return _mapped(value, lambda text: pattern.sub(lambda found: names[found[0]], text))


def _without_texts(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: "" if key in _REDACTED else _without_texts(one) for key, one in value.items()}
    return [_without_texts(one) for one in value] if isinstance(value, list) else value


def _mapped(value: Any, change: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _mapped(one, change) for key, one in value.items()}
    if isinstance(value, list):
        return [_mapped(one, change) for one in value]
    return change(value) if isinstance(value, str) else value
