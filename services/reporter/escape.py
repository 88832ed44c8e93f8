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


def csv_cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula: those get an apostrophe in front."""
    shown = visible(text)
    return f"'{shown}" if text.startswith(_FORMULA) or shown.lstrip(" ").startswith(_FORMULA) else shown


def terminal(text: str) -> str:
    """A line for a terminal: no escape sequence gets through."""
    return visible(text)
