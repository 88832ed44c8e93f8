"""Whether a model's sentence may stand: it must consist of facts and of words that claim nothing.

    sentence := [opening (":" | ",")] slot (joint slot)* ["."]          slot := "{" fact id "}"

The opening has words of `words.LEADING` and of the topics of the facts cited, a joint is one of `words.JOINTS`. A model that
lies has no word to lie with: what it can choose is which facts, and in which order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from services.reporter.grounding.fact import Fact
from services.reporter.grounding.words import JOINTS, LEADING, TOPICS

MOST_SENTENCES = 12
MOST_IN_ONE = 3
_MOST_OPENING = 80
_SLOT = re.compile(r"\{([a-z][a-z0-9.-]{0,60})\}")
_OPENING = re.compile(r"[A-Za-z]+(?: [A-Za-z]+)*[:,]")


class Accepted(NamedTuple):
    """A sentence that may stand, filled, and the facts in it."""

    text: str
    facts: tuple[str, ...]


class Refused(NamedTuple):
    """Why a sentence may not stand: `shape`, `unknown-fact`, `cites`, `no-fact`, `too-much`, `repeated`, `words`."""

    reason: str


def check(sentences: Sequence[Any], facts: Mapping[str, Fact]) -> list[Accepted | Refused]:
    """The outcome of each sentence, in order; sentences are objects {"text", "cites"} of a model. A fact is told once."""
    told: set[str] = set()
    outcomes: list[Accepted | Refused] = []
    for at, sentence in enumerate(sentences):
        outcome = Refused("too-much") if at >= MOST_SENTENCES else _check_one(sentence, facts, told)
        if isinstance(outcome, Accepted):
            told.update(outcome.facts)
        outcomes.append(outcome)
    return outcomes


def _check_one(sentence: Any, facts: Mapping[str, Fact], told: set[str]) -> Accepted | Refused:
    text = sentence.get("text") if isinstance(sentence, Mapping) else None
    cites = sentence.get("cites") if isinstance(sentence, Mapping) else None
    if (
        not isinstance(text, str)
        or not isinstance(cites, list)
        or not all(type(cite) is str for cite in cites)
    ):
        return Refused("shape")
    parts = _SLOT.split(text)
    between, slots = parts[::2], parts[1::2]
    reason = _wrong(slots, cites, facts, told)
    if reason is not None:
        return Refused(reason)
    cited = [facts[slot] for slot in slots]
    return (
        Accepted(_filled(between, cited), tuple(slots))
        if _claims_nothing(between, cited)
        else Refused("words")
    )


def _wrong(slots: list[str], cites: list[str], facts: Mapping[str, Fact], told: set[str]) -> str | None:
    """What is wrong with the facts of a sentence, None where nothing is."""
    wrong = {
        "no-fact": not slots,
        "too-much": len(slots) > MOST_IN_ONE,
        "unknown-fact": any(name not in facts for name in (*slots, *cites)),
        "cites": sorted(cites) != sorted(slots),
        "repeated": len(set(slots)) < len(slots) or bool(told.intersection(slots)),
    }
    return next((reason for reason, is_so in wrong.items() if is_so), None)


def _claims_nothing(between: Sequence[str], cited: Sequence[Fact]) -> bool:
    opening, *joints, end = between
    return (
        _is_opening(opening.strip(" "), cited)
        and all(joint.strip(" ").lower() in JOINTS for joint in joints)
        and end.strip(" ") in ("", ".")
    )


def _is_opening(opening: str, cited: Sequence[Fact]) -> bool:
    if not opening:
        return True
    if len(opening) > _MOST_OPENING or _OPENING.fullmatch(opening) is None:
        return False
    topics = {word for fact in cited for topic in fact.topics for word in TOPICS[topic]}
    return all(word in LEADING or word in topics for word in opening[:-1].lower().split(" "))


def _filled(between: Sequence[str], cited: Sequence[Fact]) -> str:
    opening, *joints, _ = between
    said = opening.strip(" ")
    for joint, fact in zip(("", *joints), cited, strict=True):
        said += joint.strip(" ")
        said += f" {_within(fact.clause)}" if said and not said.endswith(".") else f" {fact.clause}"
    return f"{said.lstrip(' ')}."


def _within(clause: str) -> str:
    """The clause as it stands within a sentence: its first letter small, but that of an abbreviation."""
    return clause[0].lower() + clause[1:] if clause[1:2].islower() or clause[1:2] == " " else clause
