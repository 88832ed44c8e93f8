"""The summary's block in the document: sentences, by whom, and what share of a model's survived the check."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from services.common.ai.outcome import Answer, Failure
from services.common.ai.prompts import load_prompt
from services.reporter.grounding.check import MOST_IN_ONE, MOST_SENTENCES, Accepted, Refused, check
from services.reporter.grounding.fact import Fact
from services.reporter.grounding.words import JOINTS, LEADING, TOPICS

PROMPT = "summary-1"
LABEL = "written by AI, checked against facts"
"""Never "verified": a model chose which facts are told, and in which order."""
BY_FACTS = "put together from facts by code; no AI had a part in it"
_FEW = 12
"""Facts that a summary without AI tells beside those that must be told."""
Ask = Callable[[list[dict[str, str]], str, dict[str, Any]], Awaitable[Answer | Failure]]
"""Asks a model for JSON by a schema: messages, the schema's name, the schema."""
Choosing = Callable[[Sequence[Fact]], Awaitable[dict[str, Any] | None]]
"""What `choose` makes of the facts, once; None where no model is to be asked."""


async def choose(facts: Sequence[Fact], ask: Ask) -> dict[str, Any]:
    """What a model that `ask` reaches makes of the facts: which of them, in which order. Nothing that came from an event is in
    what it is asked, nor in what is returned: `sentences` with fact ids in braces, those that may stand alone."""
    result = await ask(_messages(facts), "summary", _schema(facts))
    if isinstance(result, Failure):
        return {"outcome": result.kind}
    sentences = _sentences(result.text)
    outcomes = check(sentences, {fact.id: fact for fact in facts})
    refused = Counter(outcome.reason for outcome in outcomes if isinstance(outcome, Refused))
    return {
        "outcome": "answered",
        "model": result.model,
        "prompt": PROMPT,
        "returned": len(outcomes),
        "survived": len(outcomes) - refused.total(),
        "refused": {reason: refused[reason] for reason in sorted(refused)},
        "sentences": [
            {"text": sentence["text"], "cites": list(outcome.facts)}
            for sentence, outcome in zip(sentences, outcomes, strict=True)
            if isinstance(outcome, Accepted)
        ],
    }


def summary_of(facts: Sequence[Fact], chosen: Mapping[str, Any] | None) -> dict[str, Any]:
    """The block: the facts as `choose` has them, checked and filled anew, and what must be told and is not among them; without
    a choice by code alone."""
    named = {fact.id: fact for fact in facts}
    outcomes = check(chosen.get("sentences", []) if chosen else [], named)
    accepted = [outcome for outcome in outcomes if isinstance(outcome, Accepted)]
    account = {} if chosen is None else {"ai": {name: chosen[name] for name in chosen if name != "sentences"}}
    if chosen is None or not accepted:
        return _by_facts(facts) | account
    told = {fact for outcome in accepted for fact in outcome.facts}
    sentences = [_by_ai(outcome, named) for outcome in accepted]
    sentences += [_by_code(fact) for fact in facts if fact.must and fact.id not in told]
    percent = round(100 * chosen["survived"] / chosen["returned"])
    return {
        "by": chosen["model"],
        "label": LABEL,
        "sentences": sentences,
        "survived_percent": percent,
    } | account


def _by_facts(facts: Sequence[Fact]) -> dict[str, Any]:
    """What must be told, then what stands first."""
    told = [fact for fact in facts if fact.must]
    told += [fact for fact in facts if not fact.must][: max(_FEW - len(told), 0)]
    told.sort(key=facts.index)
    sentences = [_by_code(fact) for fact in told]
    return {"by": "rules", "label": BY_FACTS, "sentences": sentences, "survived_percent": None}


def _by_code(fact: Fact) -> dict[str, Any]:
    return {"text": f"{fact.clause}.", "facts": [fact.id], "cites": list(fact.basis.samples), "by": "rules"}


def _by_ai(outcome: Accepted, named: Mapping[str, Fact]) -> dict[str, Any]:
    cites = list(dict.fromkeys(one for fact in outcome.facts for one in named[fact].basis.samples))
    return {"text": outcome.text, "facts": list(outcome.facts), "cites": cites, "by": "ai"}


def _messages(facts: Sequence[Fact]) -> list[dict[str, str]]:
    prompt = load_prompt(PROMPT).filled(
        sentences=str(MOST_SENTENCES),
        facts=str(MOST_IN_ONE),
        words=" ".join(sorted(LEADING)),
        joints=" ".join(f"`{joint}`" for joint in sorted(JOINTS)),
    )
    lines = [
        json.dumps(
            {
                "id": fact.id,
                "fact": fact.for_model(),
                "topics": sorted(word for topic in fact.topics for word in TOPICS[topic]),
                "must": fact.must,
            }
        )
        for fact in facts
    ]
    return [{"role": "system", "content": prompt}, {"role": "user", "content": "\n".join(lines)}]


def _schema(facts: Sequence[Fact]) -> dict[str, Any]:
    """Strict, as structured outputs want it; cites come from the enumeration of the facts' ids."""
    cite = {"type": "string", "enum": [fact.id for fact in facts]}
    fields = {"text": {"type": "string"}, "cites": {"type": "array", "items": cite}}
    sentence = {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"sentences": {"type": "array", "items": sentence}},
        "required": ["sentences"],
        "additionalProperties": False,
    }


def _sentences(text: str) -> list[Any]:
    """The sentences in an answer; none where it is not as it was asked for."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return []
    sentences = said.get("sentences") if isinstance(said, dict) else None
    return sentences if isinstance(sentences, list) else []
