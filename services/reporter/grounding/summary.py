"""The summary's block in the document: sentences, by whom, and what share of a model's survived the check."""

from __future__ import annotations

import json
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
_FEW = 8
"""Facts that a summary without AI tells beside those that must be told."""
Ask = Callable[[list[dict[str, str]], str, dict[str, Any]], Awaitable[Answer | Failure]]
"""Asks a model for JSON by a schema: messages, the schema's name, the schema."""


def by_facts(facts: Sequence[Fact], why: str | None = None) -> dict[str, Any]:
    """The block without AI: what must be told, then what stands first. `why`: what came of asking a model."""
    told = [fact for fact in facts if fact.must]
    told += [fact for fact in facts if not fact.must][: max(_FEW - len(told), 0)]
    told.sort(key=facts.index)
    block = {"by": "rules", "label": BY_FACTS, "sentences": [_by_code(fact) for fact in told]}
    return block if why is None else block | {"ai": {"outcome": why}}


async def by_model(facts: Sequence[Fact], ask: Ask) -> dict[str, Any]:
    """The block by a model that `ask` reaches; by facts alone where it gives no answer or nothing of it may stand. Nothing
    that came from an event is in what it is asked."""
    result = await ask(_messages(facts), "summary", _schema(facts))
    if isinstance(result, Failure):
        return by_facts(facts, result.kind)
    named = {fact.id: fact for fact in facts}
    outcomes = check(_sentences(result.text), named)
    accepted = [outcome for outcome in outcomes if isinstance(outcome, Accepted)]
    refused = [outcome.reason for outcome in outcomes if isinstance(outcome, Refused)]
    account = {
        "outcome": "answered",
        "model": result.model,
        "prompt": PROMPT,
        "returned": len(outcomes),
        "survived": len(accepted),
        "refused": {reason: refused.count(reason) for reason in sorted(set(refused))},
    }
    if not accepted:
        return by_facts(facts) | {"ai": account}
    told = {fact for outcome in accepted for fact in outcome.facts}
    sentences = [_by_ai(outcome, named) for outcome in accepted]
    sentences += [_by_code(fact) for fact in facts if fact.must and fact.id not in told]
    share = {"survived_percent": round(100 * len(accepted) / len(outcomes))}
    return {"by": result.model, "label": LABEL, "sentences": sentences, "ai": account} | share


def _by_code(fact: Fact) -> dict[str, Any]:
    return {"text": f"{fact.clause}.", "facts": [fact.id], "cites": list(fact.samples), "by": "rules"}


def _by_ai(outcome: Accepted, named: Mapping[str, Fact]) -> dict[str, Any]:
    cites = [sample for fact in outcome.facts for sample in named[fact].samples]
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
