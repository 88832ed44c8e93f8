"""Text from events, made harmless for each place where it is shown. Nothing else may put such text anywhere.

`visible` comes first everywhere: what cannot be seen or changes what stands around it is written as [U+202E].
"""

from __future__ import annotations

import re
import unicodedata

_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
"""Control and format characters (bidi, zero width), surrogates, private and unassigned ones, line separators."""
_MOST_MARKS = 2
"""Combining marks on one letter; more would climb into the lines around."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What begins a formula in a spreadsheet, full-width forms too."""
_BACKTICKS = re.compile(r"`+")


class Trusted(str):
    """Text made by our own code, in which nothing from an event stands. Markdown takes it as it is."""

    __slots__ = ()


def visible(text: str) -> str:
    """`text` in one line, every character to be seen."""
    if text.isascii() and text.isprintable():
        return text
    shown, marks = [], 0
    for letter in text:
        category = unicodedata.category(letter)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        hidden = category in _HIDDEN or marks > _MOST_MARKS
        shown.append(f"[U+{ord(letter):04X}]" if hidden else letter)
    return "".join(shown)


def cut(text: str, limit: int) -> str:
    """`text` with at most `limit` characters; the last is … if it was longer."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def markdown(text: str) -> str:
    """A code span: in it nothing is markup, HTML or a link. Pipes, which end a table's cell even there, become U+2502;
    an empty text becomes a dash."""
    shown = visible(text).replace("|", "\N{BOX DRAWINGS LIGHT VERTICAL}").strip(" ")
    if not shown:
        return "\N{EN DASH}"
    fence = "`" * (1 + max((len(run) for run in _BACKTICKS.findall(shown)), default=0))
    padding = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{padding}{shown}{padding}{fence}"


_QUOTES = "\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}\"'"
_WORD = rf"[^\W_]+(?:[{_QUOTES}-][^\W_]+)?|[0-9][0-9,.]*[0-9]|%"
_PROSE = re.compile(rf"[({_QUOTES}]?(?:{_WORD})[.,;:!?){_QUOTES}]{{0,3}}")
"""Words and numbers that are neither markup nor part of an address."""
_AROUND = re.compile(rf"([({_QUOTES}]?)(.*?)([.,;:!?){_QUOTES}]{{0,3}})", re.DOTALL)
"""A word between the punctuation of its sentence."""


def markdown_prose(text: str) -> str:
    """A sentence: words and numbers as they are; each word that is anything else (a name, an address, a tag) in a code span
    of its own, so that nothing is markup or a link."""
    words = [word for word in visible(text).split(" ") if word]
    if not words:
        return "\N{EN DASH}"
    first = words[0]
    shown = [word if _PROSE.fullmatch(word) else _coded(word) for word in words]
    if first[0].isdigit() and first[-1] in ".)":  # "1." would begin a list
        shown[0] = shown[0][:-1] + "\\" + shown[0][-1]
    return " ".join(shown)


def _coded(word: str) -> str:
    found = _AROUND.fullmatch(word)
    if found is None or not found[2]:
        return markdown(word)
    return f"{found[1]}{markdown(found[2])}{found[3]}"


def csv_cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula: those get an apostrophe in front."""
    shown = visible(text)
    return f"'{shown}" if text.startswith(_FORMULA) or shown.lstrip(" ").startswith(_FORMULA) else shown


def terminal(text: str) -> str:
    """A line for a terminal: no escape sequence gets through."""
    return visible(text)
