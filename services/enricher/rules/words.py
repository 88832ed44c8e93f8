"""The words that say what was done, whatever the source calls it: `DeactivateMFADevice`, `user.mfa.factor.deactivate` and
"MFA device deactivated" have `mfa` and a form of `deactivate` in common.

Rules read them as the field `ce.words`, in lower case: the words of the event's type and of the mapping's `action`
and `words`. They are taken from short texts only, and remembered, since the same actions come again and again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from schemas.events import Event
from schemas.paths import Getter, compile_path

WORDS_LIMIT = 48
_TEXT_LIMIT = 400
_LISTED = 8
_LABEL = 24
_WORD = re.compile(
    r"[Kk]8s|[A-Z]{2,}(?![a-z])|[A-Z]?[a-z]+(?:[0-9]{1,3}(?![0-9]))?|[0-9]+[A-Za-z]+|[A-Z]|[0-9]+"
)

_SAYS_NOTHING = frozenset(
    [
        "audit",
        "auditlog",
        "auditlogs",
        "auditevent",
        "auditevents",
        "audittrail",
        "securityaudit",
        "securityauditlog",
        "activitylog",
    ]
)
"""Texts by which a source says that its events are for an audit, which they all are: of `AuditLogs` and `delete`, a rule
would make a deleted log."""

WordsReader = Callable[[dict[str, Any], Event], tuple[str, ...]]


def words_reader(paths: Sequence[str]) -> WordsReader:
    """The reader of `ce.words` for events whose action stands at `paths`. The last event's words are kept, since index
    and rules ask for them one after another."""
    getters: dict[str, list[Getter]] = {}
    for path in dict.fromkeys(paths):
        for key in {path, path.partition(".")[0]}:
            getters.setdefault(key, []).append(compile_path(path))
    last: tuple[Any, tuple[str, ...]] = (None, ())

    def read(data: dict[str, Any], event: Event) -> tuple[str, ...]:
        nonlocal last
        if last[0] is event:
            return last[1]
        texts = [event.type[:_TEXT_LIMIT]] if event.type else []
        for key in data:
            for getter in getters.get(key, ()):
                value = getter(data)
                if type(value) is str:
                    texts.append(value[:_TEXT_LIMIT])  # before it is remembered: a value may be a megabyte
                elif type(value) is list:
                    texts += [item[:_TEXT_LIMIT] for item in value[:_LISTED] if type(item) is str]
        words = words_of(texts[0]) if len(texts) == 1 else _together(tuple(texts))
        last = (event, words)
        return words

    return read


@lru_cache(maxsize=4096)
def words_of(text: str) -> tuple[str, ...]:
    """The words of a name or a short sentence, in lower case, each once; a run of letters in one case is one word."""
    if len(text) < _LABEL and "".join(_WORD.findall(text)).lower() in _SAYS_NOTHING:
        return ()
    return tuple(dict.fromkeys(word.lower() for word in _WORD.findall(text)))[:WORDS_LIMIT]


@lru_cache(maxsize=4096)
def _together(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for text in texts for word in words_of(text)))[:WORDS_LIMIT]
