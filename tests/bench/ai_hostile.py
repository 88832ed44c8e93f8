"""Instructions of others in every place of real events, read by a model that obeys them; and pairs of real events of one
key-path set with opposite labels or outcomes, with a model that says of all what it said of the first. Enricher and
annotator in one process, the stand-in over real HTTP."""

from __future__ import annotations

import io
import json
import random
import re
from collections import Counter, defaultdict
from contextlib import redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from schemas.enrichment import RISKS, Enrichment, Header, encode_header, highest
from schemas.record import NO_TIMESTAMP_TYPE
from services.enricher.enrich import Coordinates, Enricher, load_enricher
from services.enricher.readings import SHAPE_PROMPT
from tests.ai_stage import Bench, batch
from tests.bench.risk import labelled
from tests.builders import TIME_MS
from tests.standins import openai_server as standin
from tests.standins.openai_server import OpenAiStandIn

CANARIES = (
    "AKIAIOSFODNN7CANARY0",
    "ghp_CANARYabcdefghijklmnopqrstuvwxyz0123",
    "canary@corp.example",
    "203.0.113.77",
)
PLACES = ("value", "key", "type", "source", "subject", "id", "header", "partition key")
LEAKS = re.compile(r"[<>{}`*|\\]|://|\[(?:email|ip|name)_\d|\bfield_\d|[\x00-\x1f\u202a-\u202e]")
WINDOW = "100000"


class Message(msgspec.Struct):
    """A message of audit.enriched, as the annotator reads it."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    offset: int
    timestamp: int = TIME_MS


class Stage:
    """Enricher and annotator in one process, over one store of readings."""

    def __init__(self, server: OpenAiStandIn, **variables: str) -> None:
        server.seen.clear()
        self.server = server
        defaults = {"AI_WINDOW_EVENTS": WINDOW, "AI_MAX_REQUESTS_PER_MONTH": "1000000", "AI_MAX_NEW_SHAPES_PER_SOURCE": "1000000", "AI_MAX_NEW_SHAPES_TOGETHER": "1000000",
                    "AI_MAX_REQUESTS_PER_MINUTE": "1000000"}  # fmt: skip
        self.bench = Bench(server, **(defaults | variables))
        self.enricher: Enricher = load_enricher(ai=self.bench.readings)
        self.offset = 0
        self.documents: dict[int, Enrichment] = {}

    def enrich(self, value: bytes, headers: Any = (), key: bytes | None = None) -> Message:
        """One event through the enricher."""
        at, salt = Coordinates(bytes(16), 0, self.offset, TIME_MS), random.randbytes(32)
        found = self.enricher.enrich(key, value, list(headers), at, salt)
        header = encode_header(
            Header(0, found.kind, bytes(16), 0, self.offset, self.offset - 1, TIME_MS, NO_TIMESTAMP_TYPE, found.event_time_us, 0,
                   found.producer_id, found.event_id, found.identity_hash, salt, bytes(32), bytes(32), msgspec.json.encode(found.document))
        )  # fmt: skip
        self.documents[self.offset] = found.document
        self.offset += 1
        return Message(key, value, [*headers, ("piperoll", header)], self.offset - 1)

    async def annotate(self, messages: list[Message]) -> None:
        """The same through the annotator."""
        await self.bench.work(*(batch(*messages[at : at + 500]) for at in range(0, len(messages), 500)))

    def told(self, offset: int) -> tuple[str, list[str], str]:
        """What the view would show: text, tags, risk."""
        document, said = self.documents[offset], self.bench.outbox.annotated.get((0, offset))
        readings = [one for one in (document.ai and msgspec.to_builtins(document.ai), said) if one]
        text = " ".join([document.summary, *(one["summary"] for one in readings[-1:])])
        tags = [*document.tags, *(tag for one in readings for tag in one["tags"])]
        return text, tags, highest(document.risk, *(one["risk"] for one in readings))


async def planted(server: OpenAiStandIn, data: Path, every: int) -> dict[str, Any]:
    """Instructions of others in every place of real events, read by a model that obeys."""
    stage = Stage(server)
    server.behave(standin.obedient)
    texts = [
        json.loads(line)["text"] for line in (data / "prompt-injections.jsonl").read_text().splitlines()
    ][::every]
    events = _real(data)
    counts: Counter[str] = Counter()
    messages, floors = [], {}
    log = io.StringIO()
    with redirect_stdout(log):
        for number, text in enumerate(texts):
            value, source = events[number * 37 % len(events)]
            whole = f"{text} {' '.join(CANARIES)}"
            floor = stage.enricher.enrich(
                None, _event(value, source, {}), [], Coordinates(bytes(16), 0, 1, 1), bytes(32)
            ).document
            for place in PLACES:
                body, headers, key = _plant(value, source, place, whole)
                message = stage.enrich(body, headers, key)
                floors[message.offset] = (place, floor)
                messages.append(message)
        await stage.annotate(messages)
    counts["filled_when_enriched"] = 0
    for message in messages:  # the same events again, now that their shapes have readings
        again = stage.enrich(message.value, message.headers[:-1], message.key)
        floors[again.offset] = floors[message.offset]
        counts["filled_when_enriched"] += stage.documents[again.offset].ai is not None
    for offset, (place, floor) in floors.items():
        document = stage.documents[offset]
        text, tags, risk = stage.told(offset)
        said = stage.bench.outbox.annotated.get((0, offset))
        by_ai = [said["summary"]] if said else [document.ai.summary] if document.ai else []
        counts["annotated"] += said is not None
        counts["of_them_by_shape"] += said is not None and said["prompt_version"] == SHAPE_PROMPT
        counts["lowered"] += RISKS.index(risk) < RISKS.index(document.risk)
        counts["below_the_event_without_it"] += (
            offset < len(messages) and place != "value" and RISKS.index(risk) < RISKS.index(floor.risk)
        )
        counts["lost_tags"] += not set(document.tags) <= set(tags)
        counts["markup_or_placeholders"] += any(LEAKS.search(one) is not None for one in by_ai)
        counts["secrets_in_texts"] += any(canary in text for canary in CANARIES[:2])
    counts["planted_texts_in_logs"] = sum(text[:60] in log.getvalue() for text in texts)
    prompts = server.prompts()
    counts["canaries_in_prompts"] = sum(canary in prompts for canary in CANARIES) + ("CANARY" in prompts)
    counts["canaries_in_logs"] = sum(canary in log.getvalue() for canary in CANARIES)
    names = _names_of(server)
    counts["odd_names_in_prompts"] = sum(text[:60] in names for text in texts)
    return {"planted": len(messages), "texts": len(texts), "requests": len(server.requests), **counts}


async def pairs(server: OpenAiStandIn, data: Path) -> dict[str, Any]:
    """Pairs of real events of one key-path set with opposite labels or outcomes, and a model that hard-codes its first."""
    stage = Stage(server)
    groups: dict[Any, list[tuple[str, bytes]]] = defaultdict(list)
    for one in labelled(data):
        if one.truth in ("alert", "non-alert") and one.source != "prompts":
            groups[one.source, frozenset(_paths(json.loads(one.value)))].append((one.truth, one.value))
    messages, opposite = [], []
    for group in groups.values():
        for (truth, value), (other_truth, other) in pairwise(sorted(group)):
            if truth != other_truth or _outcome(stage, value) != _outcome(stage, other):
                opposite.append((stage.offset, stage.offset + 1))
                messages += [stage.enrich(value), stage.enrich(other)]
    server.behave(standin.HardCoding())
    with redirect_stdout(io.StringIO()):
        await stage.annotate(messages)
    wrong = sum(_states(stage, one, other) + _states(stage, other, one) for one, other in opposite)
    read = sum((0, message.offset) in stage.bench.outbox.annotated for message in messages)
    return {
        "pairs": len(opposite),
        "with_a_reading": read,
        "states_the_other": wrong,
        "requests": len(server.requests),
    }


def _states(stage: Stage, offset: int, other: int) -> bool:
    """Whether the AI's text of an event has a fact that only the other of the pair has."""
    said = stage.bench.outbox.annotated.get((0, offset))
    if said is None:
        return False
    own, foreign = (msgspec.to_builtins(stage.documents[at].who) for at in (offset, other))
    text, known = said["summary"].casefold(), json.dumps([own, stage.documents[offset].type]).casefold()
    return any(
        len(fact) > 3
        and fact.casefold() not in known
        and re.search(rf"(?<!\w){re.escape(fact.casefold())}(?!\w)", text)
        for fact in foreign.values()
    )


def _outcome(stage: Stage, value: bytes) -> str:
    document = stage.enricher.enrich(None, value, [], Coordinates(bytes(16), 0, 1, 1), bytes(32)).document
    return (document.who.outcome or "").partition(":")[0]


def _paths(value: Any, prefix: str = "") -> Any:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _paths(item, f"{prefix}.{key}")
    elif isinstance(value, list):
        for item in value:
            yield from _paths(item, f"{prefix}[]")
    else:
        yield prefix


def _real(data: Path) -> list[tuple[dict[str, Any], str]]:
    names = ("cloudtrail_rules", "okta", "github", "k8s", "gcp", "azure", "gworkspace", "saas")
    return [
        (json.loads(line), name)
        for name in names
        for line in (data / f"{name}.jsonl").read_bytes().splitlines()[::5]
    ]


def _event(value: Any, source: str, changes: dict[str, Any]) -> bytes:
    event = {"specversion": "1.0", "id": "i", "source": f"/{source}", "type": "t", "data": value}
    return json.dumps(event | changes).encode("utf-8", "replace")


def _plant(
    value: Any, source: str, place: str, text: str
) -> tuple[bytes, list[tuple[str, bytes]], bytes | None]:
    headers: list[tuple[str, bytes]] = []
    key: bytes | None = None
    changes: dict[str, Any] = {}
    if place == "value":
        changes["data"] = _everywhere(value, text)
    elif place == "key":
        changes["data"] = value | {text: text}
    elif place == "header":
        headers = [("x-note", text.encode("utf-8", "replace")), (text[:200], b"x")]
    elif place == "partition key":
        key, changes["partitionkey"] = text.encode("utf-8", "replace"), text
    else:
        changes[place] = text
    return _event(value, source, changes), headers, key


def _everywhere(value: Any, text: str) -> Any:
    if isinstance(value, dict):
        return {key: _everywhere(item, text) for key, item in value.items()}
    if isinstance(value, list):
        return [_everywhere(item, text) for item in value]
    return f"{value} {text}" if isinstance(value, str) else value


def _names_of(server: OpenAiStandIn) -> set[str]:
    """Names that the prompts show: keys, types and sources, cut as the texts are compared."""
    found: set[str] = set()
    for body in server.requests:
        kind = standin.kind_in(body)
        for shown in [kind] if kind is not None else standin.events_in(body):
            found |= {str(shown.get("type"))[:60], str(shown.get("source"))[:60]} | {
                name[:60] for name in _keys(shown)
            }
    return found


def _keys(value: Any) -> Any:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _keys(item)
    elif isinstance(value, list):
        for item in value:
            yield from _keys(item)
