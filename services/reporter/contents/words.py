"""Glossary and method: the same sentences in every report."""

from __future__ import annotations

GLOSSARY = [
    (
        "annotation",
        "A reading of an event by AI that came after the event was recorded; a record of its own.",
    ),
    ("chain", "The records of one partition of a topic, each holding the hash of the one before."),
    ("cut", "The seal up to which a report counts; what was recorded later is in a later edition or period."),
    ("edition", "One making of a period's report. Editions are numbered and never overwritten."),
    ("floor", "The risk that the rules give. AI may raise a risk above it, never lower it."),
    (
        "record",
        "A row of a chain, named by chain and number as in 3:17. Its hash stands in the record behind it.",
    ),
    ("repeat", "The same event sent again: recorded as a duplicate, not counted as an event."),
    ("review", "What a person found an event to be: open, explained, incident or false-positive."),
    ("seal", "A signed statement of the size and root hash of every chain at one moment."),
    ("skip", "A record that stands for source offsets which hold no event."),
]
METHOD = [
    "Every number is counted by SQL from the records below the cut; every statement names records by which it can be checked.",
    "An event's risk is the highest that rules and AI gave it, less what AI alone had given when a review called it a false positive.",
    "An event's time is its own, else the one that its source's mapping finds, else Kafka's. A time without a zone is read as UTC.",
    "Tables show the most frequent keys and say how many there are; every event is in the event log, where that is attached.",
    "Duplicates are recorded and not counted as events. Messages that cannot be read are counted apart.",
    "The report says what the records show. It does not say that the organisation complies with anything.",
]
