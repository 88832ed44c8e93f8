"""The words that a model may put around facts. None of them can claim anything: no number, name, time, cause, comparison,
absence, judgement or verb of doing. Whatever is not listed is refused, in every language of reports."""

from __future__ import annotations

LANGUAGES = ("en",)
"""Languages of reports: facts are made in them, and only their words are let through."""

LEADING = frozenset(
    [
        "about",
        "also",
        "and",
        "another",
        "as",
        "besides",
        "concerning",
        "for",
        "further",
        "here",
        "in",
        "addition",
        "note",
        "of",
        "on",
        "point",
        "regarding",
        "report",
        "the",
        "these",
        "this",
        "to",
        "topic",
        "under",
        "with",
    ]
)
"""Of a heading or an opening before the first fact."""

JOINTS = frozenset(
    (
        ";",
        "; and",
        ", and",
        "; also",
        "; in addition,",
        "; further,",
        "; besides,",
        ". also:",
        ". in addition:",
        ". further:",
        ".",
    )
)
"""What may stand between two facts, in lower case and without the blanks around it."""

TOPICS = {
    "integrity": ("integrity", "verification", "checkpoints"),
    "completeness": ("completeness", "sequences", "gaps"),
    "volume": ("volume", "events", "activity"),
    "risk": ("risk", "risks"),
    "review": ("review", "reviews"),
    "rules": ("rules",),
    "types": ("types", "kinds"),
    "sources": ("sources",),
    "actors": ("actors", "people", "accounts"),
    "days": ("days",),
    "unreadable": ("unreadable", "messages"),
    "repeats": ("repeats", "duplicates"),
    "catalogue": ("catalogue",),
    "changes": ("changes", "comparison"),
    "alerts": ("alerts",),
    "ai": ("summaries", "readings"),
    "erasure": ("erasure", "erasures"),
    "retention": ("retention",),
    "access": ("reads", "access"),
    "drill": ("drill",),
    "late": ("late", "lateness"),
}
"""What facts are about, and the words for it: a sentence may use those of the facts that it cites."""
