"""A document that was made again from changed or thinned records, and is not that of the edition: its first page says so first.

`other_than_edition` in it holds the edition's id, the SHA-256 on record, the parts that differ, and why, in lines.
"""

from __future__ import annotations

from services.reporter.formats.blocks import Block, Listing, Ours, Prose, Verdict
from services.reporter.formats.words import Object

OTHER = "other_than_edition"
TITLE = "NOT THE EDITION"


def warning(document: Object) -> list[Block]:
    """What stands before everything else; nothing where the document is that of its edition."""
    other = document.get(OTHER)
    if not other:
        return []
    edition, recorded = other["edition"], other["sha256"]
    sentences = [
        Ours(f"This was made again, and is other than edition {edition} as recorded (SHA-256 {recorded})."),
        Ours(f"Its parts {', '.join(other['parts'])} differ."),
        Ours("No proof of it is made, and nobody has signed it. Why it is other:"),
    ]
    return [
        Verdict("bad", Ours(f"{TITLE}: made again, and other than it was."), sentences),
        Listing([[Prose(str(line))] for line in other["why"]]),
    ]


def warning_line(document: Object) -> str:
    """The same in one line, for files that have no first page; empty where there is nothing to say."""
    other = document.get(OTHER)
    if not other:
        return ""
    return (
        f"{TITLE}: made again, and other than edition {other['edition']} as it was recorded "
        f"(SHA-256 {other['sha256']}).\n\n"
    )
