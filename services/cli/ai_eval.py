"""How well a real model reads: labelled events of the demo's month, or of a file, read one by one as the annotator does."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from schemas.catalog import load_catalog
from schemas.enrichment import RISKS, Header, encode_header
from schemas.record import NO_TIMESTAMP_TYPE
from services.cli.demo_month.days import parse_month
from services.cli.demo_month.month import generate
from services.common.ai.outcome import Answer
from services.common.ai.prompts import load_prompt
from services.common.ai.service import Model
from services.common.ai.settings import AiSettings
from services.common.ai.vocabulary import load_vocabulary
from services.common.errors import ConfigurationError
from services.enricher.enrich import Coordinates, Enricher, load_enricher
from services.enricher.questions import Form, Question, Subject, readings_in, subject_of
from services.enricher.wiring import EVENT_PROMPT

LEAST = 100
_MONTH, _EVENTS, _SEED = "2026-10", 3000, 7
_AT_MS = 1_790_000_000_000


class Labelled(NamedTuple):
    """An event and whether somebody should look at it."""

    value: bytes
    headers: list[tuple[str, bytes]]
    alarming: bool


def demo_events(count: int) -> list[Labelled]:
    """Events of the demo's month: all of its incident, and everyday ones spread over the month."""
    messages = [
        one
        for one in generate(parse_month(_MONTH), _SEED, _EVENTS).messages
        if one.fate == "event" and one.value
    ]
    incident = [one for one in messages if one.story][: count // 3]
    everyday = [one for one in messages if not one.story and not one.flaw]
    step = max(1, len(everyday) // max(1, count - len(incident)))
    chosen = [*incident, *everyday[::step][: count - len(incident)]]
    return [Labelled(one.value or b"", one.headers, bool(one.story)) for one in chosen]


def file_events(file: Path) -> list[Labelled]:
    """JSON lines `{"event": …, "label": "alert" | "no_alert"}`. Raises ConfigurationError."""
    found = []
    try:
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            found.append(
                Labelled(
                    json.dumps(row["event"]).encode(), [], {"alert": True, "no_alert": False}[row["label"]]
                )
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f'{file}: {type(error).__name__}: each line must be {{"event": …, "label": "alert" or "no_alert"}}'
        ) from None
    if len(found) < LEAST:
        raise ConfigurationError(f"{file}: {len(found)} events; at least {LEAST} say anything about a model")
    return found


class Score:
    """What a model did wrong, by kind, before anything of it is dropped."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, question: Question, events: Sequence[Labelled], answer: str) -> None:
        """Takes the answer to a question about some events."""
        believed = question.read(answer)
        said = {one.get("event"): one for one in readings_in(answer) if isinstance(one, dict)}
        for number, event in enumerate(events):
            self.counts["events"] += 1
            self.counts["alarming" if event.alarming else "everyday"] += 1
            one = said.get(number)
            if one is None or not isinstance(one.get("summary"), str) or one.get("risk") not in RISKS:
                self.counts["no_reading"] += 1
                continue
            flaws = question.flaws(number, one["summary"])
            for name, kind in (
                ("wrong_actor", "actor"),
                ("wrong_outcome", "outcome"),
                ("invented", "invented"),
            ):
                self.counts[name] += kind in flaws
            level = RISKS.index(one["risk"])
            self.counts["over_raised"] += not event.alarming and level >= RISKS.index("high")
            self.counts["missed"] += event.alarming and level < RISKS.index("medium")
            self.counts["dropped_by_checks"] += number not in believed

    def as_json(self) -> dict[str, Any]:
        """For programs: counts."""
        names = ("events", "alarming", "everyday", "no_reading", "wrong_actor", "wrong_outcome", "invented", "over_raised", "missed",
                 "dropped_by_checks")  # fmt: skip
        return {name: self.counts[name] for name in names}

    def lines(self) -> list[str]:
        """For people."""
        of = {"over_raised": "everyday", "missed": "alarming"}
        return [
            f"{name.replace('_', ' '):20}{count:>6,}"
            + (
                f" of {self.counts[of.get(name, 'events')]:,}"
                if name not in ("events", "alarming", "everyday")
                else ""
            )
            for name, count in self.as_json().items()
        ]


async def evaluate(model: Model, settings: AiSettings, events: Sequence[Labelled]) -> tuple[Score, str]:
    """The score, and why asking ended early (empty if it did not)."""
    form = Form(load_prompt(EVENT_PROMPT), load_vocabulary(), load_catalog(), settings.language)
    enricher, score = load_enricher(), Score()
    size = settings.events_per_request
    for start in range(0, len(events), size):
        part = events[start : start + size]
        question = form.ask([_subject(enricher, event, start + at) for at, event in enumerate(part)])
        result = await model.ask(question.messages, form.name, form.schema, purpose="event", prompt_version=form.version,
                                 give_up_after_s=60)  # fmt: skip
        if not isinstance(result, Answer):
            if result.kind in ("refused", "truncated", "malformed"):
                score.add(question, part, "")
                continue
            return score, result.advice
        score.add(question, part, result.text)
    return score, ""


def _subject(enricher: Enricher, event: Labelled, offset: int) -> Subject:
    salt = bytes(32)
    found = enricher.enrich(None, event.value, event.headers, Coordinates(bytes(16), 0, offset, _AT_MS), salt)
    header = Header(0, found.kind, bytes(16), 0, offset, offset - 1, _AT_MS, NO_TIMESTAMP_TYPE, found.event_time_us, 0, found.producer_id,
                    found.event_id, 0, salt, salt, salt, msgspec.json.encode(found.document))  # fmt: skip
    return subject_of(event.value, [*event.headers, ("piperoll", encode_header(header))])
