"""What a sentence says of how something ended, in the languages of `languages.yaml`. Pure but for reading that file.

Not grammar: words, and a negation near one. What it misses lets a wrong sentence through, what it sees
wrongly costs a reading.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from services.common.errors import ConfigurationError

FILE = Path(__file__).with_name("languages.yaml")
UNSPACED = "\u2e80-\U0010ffff"
"""Letters of scripts that put no blanks between words, as a range in a regular expression."""
_NEAR_WORDS, _NEAR_LETTERS = 3, 8
_BEHIND = frozenset({"Japanese"})
_BOTH = frozenset({"German", "Dutch", "Swedish", "Danish", "Norwegian"})
"""Where a negation stands behind its verb (`gelang nicht`), always or as well."""
_LETTER = rf"[^\W{UNSPACED}]"


class Claims(NamedTuple):
    """The first words of a text that say it failed, and that it succeeded."""

    failed: str | None
    succeeded: str | None


class OutcomeWords:
    """The words of one language."""

    def __init__(
        self, name: str, failed: Sequence[str], succeeded: Sequence[str], negations: Sequence[str]
    ) -> None:
        self.name = name
        self._failed = _any_of(failed, whole=False)
        self._succeeded = _any_of(succeeded, whole=False)
        self._negation = _any_of(negations, whole=True)

    def claims(self, text: str) -> Claims:
        """What a text says."""
        text = text.casefold()
        failed: list[str] = []
        succeeded: list[str] = []
        for found in self._failed.finditer(text):
            (succeeded if self._is_negated(text, found) else failed).append(found[0])
        # `unsuccessful` and its like hold the word for success: what was taken is not looked at again.
        rest = self._failed.sub(lambda found: "\0" * len(found[0]), text)
        for found in self._succeeded.finditer(rest):
            (failed if self._is_negated(text, found) else succeeded).append(found[0])
        return Claims(failed[0] if failed else None, succeeded[0] if succeeded else None)

    def _is_negated(self, text: str, found: re.Match[str]) -> bool:
        if self.name in _BEHIND:
            return self._negation.search(text[found.end() : found.end() + _NEAR_LETTERS]) is not None
        if self.name in _BOTH:
            behind = re.split(r"[.;:!?]", text[found.end() :])[0].split()
            if self._negation.search(" ".join(behind[:2])) is not None:
                return True
        before = re.split(r"[.;:!?。]", text[: found.start()])[-1]
        near = " ".join(before.split()[-_NEAR_WORDS:])
        near = near[-_NEAR_LETTERS:] if ord(found[0][0]) >= 0x2E80 else near
        return self._negation.search(near) is not None


def outcome_words(language: str) -> OutcomeWords:
    """Those of a language as AI_LANGUAGE names it, `German` or `Brazilian Portuguese` say. Raises ConfigurationError."""
    known = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    said = language.casefold().split()
    for name, words in known.items():
        if any(one.casefold() in said for one in (name, *words.get("also", ()))):
            return OutcomeWords(name, words["failed"], words["succeeded"], words["not"])
    raise ConfigurationError(
        f"AI_LANGUAGE is {language!r}, and nobody could check there that a model's sentence does not turn an outcome. It can be one of "
        f"{', '.join(known)}; another one needs its words in {FILE.name}"
    )


def _any_of(words: Sequence[str], *, whole: bool) -> re.Pattern[str]:
    made = []
    for word in sorted(words, key=len, reverse=True):
        text = re.escape(word.casefold())
        spaced = ord(word[0]) < 0x2E80
        made.append(rf"(?<!{_LETTER}){text}" + (rf"(?!{_LETTER})" if whole else "") if spaced else text)
    return re.compile("|".join(made))


ENGLISH = outcome_words("English")
