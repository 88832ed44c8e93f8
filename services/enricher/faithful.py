"""Whether a model's sentence speaks of the event that it is about: no made-up names, no other outcome. Pure.

Not a proof. It catches what a model takes from another event or from nowhere where that shows: names with digits or dots,
addresses, an actor who is not there, `failed` where it succeeded (in every language of `languages.yaml`). What is caught costs a reading, never an event.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from services.enricher.outcome_words import ENGLISH, UNSPACED, OutcomeWords

_LETTER = rf"[^\W{UNSPACED}]"
_TOKEN = re.compile(rf"(?:{_LETTER}|[.:/@+*#$%&=~-]){{4,}}")
_NAMES = re.compile(r"\d|@|_|[^\W_][.:][^\W_]")
_SEPARATORS = re.compile(r"[/:@\\|#]")
_LEAST = 3


def invents(text: str, shown: str) -> bool:
    """Whether `text` has a name, number or address that does not stand in what the model was shown."""
    known = shown.casefold()
    return any(
        _NAMES.search(token) is not None and token.strip(".:-*").casefold() not in known
        for token in _TOKEN.findall(text)
    )


def contradicts(text: str, outcome: str | None, shown: str, words: OutcomeWords = ENGLISH) -> bool:
    """Whether `text` speaks of failure where `outcome` is success, or the other way round; words that were shown
    prove nothing."""
    if not outcome:
        return False
    claims = words.claims(text)
    if outcome == "success":
        found, against = claims.failed, claims.succeeded
    elif outcome.startswith("failure"):
        found, against = claims.succeeded, claims.failed
    else:
        return False
    return found is not None and against is None and found not in shown.casefold()


def names_actor(text: str, actor: str | None) -> bool:
    """Whether `text` names the actor, in whole or by the last part of an address; also where there is none to name."""
    if not actor:
        return True
    parts = [part for part in _SEPARATORS.split(actor) if len(part) >= _LEAST]
    said = text.casefold()
    return actor.casefold() in said or any(part.casefold() in said for part in parts[-2:])


def speaks_of_others(text: str, shown: str, others: Iterable[str]) -> bool:
    """Whether `text` has a value of another event of the same request that its own does not have."""
    said, known = text.casefold(), shown.casefold()
    return any(
        len(value) > _LEAST
        and value.casefold() not in known
        and re.search(rf"(?<!{_LETTER}){re.escape(value.casefold())}(?!{_LETTER})", said)
        for value in others
    )
