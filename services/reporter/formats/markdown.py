"""The report as Markdown (GitHub's tables): what is anybody's stands in code spans, in which nothing is markup or a link."""

from __future__ import annotations

from services.reporter.escape import Trusted, markdown, markdown_prose, visible
from services.reporter.formats.blocks import (
    Block,
    Chart,
    Cite,
    Facts,
    Heading,
    Listing,
    Mark,
    Page,
    Paragraph,
    Piece,
    Prose,
    Signatures,
    Table,
    Text,
    Tiles,
    Verdict,
)  # fmt: skip


def render_markdown(page: Page) -> bytes:
    """UTF-8, with one line for each paragraph."""
    first = [] if page.good else _block(page.cover[0])
    lines = [*first, f"# {_words(page.title)}", ""]
    for block in page.cover[0 if page.good else 1 :]:
        lines += _block(block)
    for at, section in enumerate(page.sections, 1):
        lines += [f"## {at}. {_words(section.title)}", ""]
        for block in section.blocks:
            lines += _block(block)
    lines.append(_words(page.foot))
    return ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")


def _block(block: Block) -> list[str]:  # noqa: PLR0911 - a case for each kind
    match block:
        case Heading(text):
            return [f"### {_words(text)}", ""]
        case Paragraph(text):
            return [_text(text), ""]
        case Facts(rows):
            return [*(f"- {_words(name)}: {_text(text)}" for name, text in rows), ""]
        case Tiles(tiles):
            return [*(f"- {_words(number)} {_words(word)}" for number, word in tiles), ""]
        case Verdict(_, title, sentences):
            return [
                f"**{_stressable(title)}**",
                "",
                *(line for one in sentences for line in (_stressable(one), "")),
            ]
        case Listing(items, numbered):
            return [
                *(f"{f'{at}.' if numbered else '-'} {_text(item)}" for at, item in enumerate(items, 1)),
                "",
            ]
        case Table():
            return _table(block)
        case Chart():
            return []  # the table that follows has its numbers
        case Signatures():
            return _signatures(block)


def _table(table: Table) -> list[str]:
    lines = [_text(table.caption), ""]
    lines.append("| " + " | ".join(_words(column.heading) for column in table.columns) + " |")
    rules = ("---:" if column.kind == "number" else "---" for column in table.columns)
    lines.append("| " + " | ".join(rules) + " |")
    lines += ["| " + " | ".join(_text(cell) for cell in row) + " |" for row in table.rows]
    return [*lines, ""]


def _signatures(block: Signatures) -> list[str]:
    lines = [f"Whoever signs, signs the edition with this SHA-256: `{block.edition}`", ""]
    if block.copy:
        lines += [f"This copy of it ({_words(block.detail)}) has the SHA-256: `{block.copy}`", ""]
    if not block.signed:
        lines += ["Nobody has signed this edition on record.", ""]
    for one in block.signed:
        lines += [*(f"> {_text(line)}  " for line in one), ""]
    return lines


def _text(text: Text) -> str:
    return "".join(_piece(piece) for piece in text)


def _piece(piece: Piece) -> str:
    match piece:
        case Cite(record):
            return f" \\[{record}\\]"
        case Prose(text):
            return markdown_prose(text)
        case Mark(_, text):
            return f"{piece.sign} {_words(text)}"
        case Trusted():
            return _escaped(piece)
        case str():
            return markdown(piece)
    return markdown(piece.text)


def _words(text: str) -> str:
    """What is ours as it is; anything else as code."""
    return _escaped(text) if isinstance(text, Trusted) else markdown(text)


def _escaped(text: str) -> str:
    """Our own words hold no markup, but names of fields have underscores, and cells end at a pipe."""
    return (
        visible(text).replace("\\", "\\\\").translate({ord(letter): f"\\{letter}" for letter in "_*[]<>|`"})
    )


def _stressable(text: str) -> str:
    """The verdict and its fixed sentences: they hold names of witnesses, but no texts of events."""
    return _escaped(text)
