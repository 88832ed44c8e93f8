"""A rule's value as a test of text: the Python expression for it, with the constants that it needs.

Nothing of a rule is ever written into source text: an expression names its constants (`c3`), which stand in the
namespace that it is compiled in.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sigma.types import (
    SigmaBool,
    SigmaCasedString,
    SigmaCIDRExpression,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaString,
    SigmaTimestampPart,
    SigmaType,
    SpecialChars,
)

from services.enricher.rules.values import search, text_of, time_part, within


class RuleError(ValueError):
    """A rule cannot be compiled; the text says why."""


class TextCheck(NamedTuple):
    """One test of text. `kind`: `equals`, `contains`, `starts`, `ends` compare with `text` (in lower case unless
    `cased`), `call` calls `test` with the text as it is, `any` is true for every text."""

    kind: str
    text: str = ""
    cased: bool = False
    test: Any = None


def text_check(value: SigmaType) -> TextCheck:
    """The test for a value of a rule. Raises RuleError for what makes no sense on one event."""
    if isinstance(value, SigmaTimestampPart):
        return TextCheck("call", test=time_part(value.timestamp_part.name.lower(), int(value.number)))
    if isinstance(value, SigmaString):
        return _string_check(value)
    if isinstance(value, SigmaBool):
        return TextCheck("equals", "true" if value.boolean else "false")
    if isinstance(value, SigmaNumber):
        return TextCheck("equals", text_of(value.number) or "")
    if isinstance(value, SigmaRegularExpression):
        flags = "".join(sorted(SigmaRegularExpression.sigma_to_re_flag[flag] for flag in value.flags))
        return TextCheck(
            "call", test=_search((f"(?{flags})" if flags else "") + value.regexp.to_plain(regex=True))
        )
    if isinstance(value, SigmaCIDRExpression):
        return TextCheck("call", test=within(value.network))
    raise RuleError(f"a value of type {type(value).__name__} cannot be tested on one event")


def _string_check(value: SigmaString) -> TextCheck:
    cased = isinstance(value, SigmaCasedString)
    parts = _collapsed(value, cased=cased)
    fixed = [part for part in parts if part is not None]
    if not parts:
        return TextCheck("equals", "", cased)
    if not fixed:
        return TextCheck("any")
    many = SpecialChars.WILDCARD_MULTI
    if SpecialChars.WILDCARD_SINGLE not in value.s and len(fixed) == 1:
        text = fixed[0]
        kinds = {
            (False, False): "equals",
            (True, False): "ends",
            (False, True): "starts",
            (True, True): "contains",
        }
        return TextCheck(kinds[value.s[0] is many, value.s[-1] is many], text, cased)
    return TextCheck("call", test=_search(_pattern(value, cased=cased)))


def _collapsed(value: SigmaString, *, cased: bool) -> list[str | None]:
    """The parts of a string, None for each run of wildcards. A lone `?` is no `any`, so it stands as text."""
    parts: list[str | None] = []
    for part in value.s:
        if isinstance(part, str):
            parts.append(part if cased else part.lower())
        elif part is SpecialChars.WILDCARD_MULTI:
            if not parts or parts[-1] is not None:
                parts.append(None)
        elif part is SpecialChars.WILDCARD_SINGLE:
            parts.append("?")
        else:
            raise RuleError(f"the placeholder %{part.name}% has no values here")
    return parts


def _pattern(value: SigmaString, *, cased: bool) -> str:
    body = "".join(
        _escape(part) if isinstance(part, str) else "." if part is SpecialChars.WILDCARD_SINGLE else ".*"
        for part in value.s
    )
    return f"(?s{'' if cased else 'i'})\\A(?:{body})\\z"


def _escape(text: str) -> str:
    """RE2 takes a backslash before any ASCII punctuation; the rest is written by its number."""
    return "".join(
        letter
        if letter.isalnum() or letter == "_" or not letter.isascii()
        else f"\\x{{{ord(letter):x}}}"
        if not letter.isprintable() or letter == " "
        else "\\" + letter
        for letter in text
    )


def _search(pattern: str) -> Any:
    try:
        return search(pattern)
    except ValueError as error:
        raise RuleError(str(error)) from None
