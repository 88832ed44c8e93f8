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
    `cased`); `pattern` searches for the regular expression `text`, `call` calls `test`, both with the text as it is; `any`
    is true for every text."""

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
        if value.contains_placeholder():
            raise RuleError(f"a placeholder in {value.regexp} has no values here")
        flags = "".join(sorted(SigmaRegularExpression.sigma_to_re_flag[flag] for flag in value.flags))
        plain = value.regexp.to_plain(regex=True)
        return _pattern_check(f"(?{flags}:{plain})" if flags else plain)
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
    return _pattern_check(f"(?s{'' if cased else 'i'}:\\A(?:{_pattern(value)})\\z)")


def keyword_check(value: SigmaType) -> TextCheck:
    """As `text_check`, for a value that may stand anywhere in a line of an event's text. Raises RuleError."""
    if not isinstance(value, SigmaString):
        check = text_check(value)
        return check._replace(kind="contains") if check.kind == "equals" else check
    cased = isinstance(value, SigmaCasedString)
    fixed = [part for part in _collapsed(value, cased=cased) if part is not None]
    if len(fixed) <= 1 and SpecialChars.WILDCARD_SINGLE not in value.s:
        return TextCheck("contains", "".join(fixed), cased)
    return _pattern_check(_pattern(value) if cased else f"(?i:{_pattern(value)})")


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


def _pattern(value: SigmaString) -> str:
    return "".join(
        _escape(part) if isinstance(part, str) else "." if part is SpecialChars.WILDCARD_SINGLE else ".*"
        for part in value.s
    )


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


def _pattern_check(pattern: str) -> TextCheck:
    search_any([pattern])  # refuses here what the engine cannot do
    return TextCheck("pattern", pattern, cased=True)


def search_any(patterns: list[str]) -> Any:
    """A test by several regular expressions at once. Raises RuleError."""
    whole = patterns[0] if len(patterns) == 1 else "|".join(f"(?:{pattern})" for pattern in patterns)
    try:
        return search(whole)
    except ValueError as error:
        raise RuleError(str(error)) from None
