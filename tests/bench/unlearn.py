"""`make bench-held-out`: what the pack would be worth on events that nobody had looked at, as far as a program
can tell.

All labelled events have been looked at, so no rule can be scored on new ones. But what was learnt can be taken back. The
labels are split into folds by the upstream rule that they test (or by source). For each fold, every item of a rule's list
that is at work on events of that fold alone is taken out of the pack, as if it had been written because of them: a name of
an action, a word, an exclusion. The fold is judged by what is left. Items that no event ever needed stay, since they were
written from general knowledge; so do exclusions that stand word for word in three rules or more, which are principles of the
pack. This errs to the low side of recall (nobody would leave `StopLogging` out of a list), and to the low side of false
alarms where a new source has words of its own. Exclusions alone taken back give the high side of false alarms.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from uuid import UUID

import yaml

from schemas.enrichment import RISKS
from schemas.events import Event, read_message
from schemas.mapping import load_mappings
from services.enricher.envelope import unwrap
from services.enricher.rules.index import RuleSet, load_rules
from services.enricher.rules.load import PACK
from tests.bench.risk import AT, DATA, LEVEL, Labelled, Tally, enricher_with, labelled

_NEVER = "\N{EMPTY SET} never"
_PRINCIPLE = 3
_RESAMPLED = 400
Doc = dict[str, Any]


class Item(NamedTuple):
    """A part of a rule that can be taken out: of its selection, the alternative with this number, of that the value with
    this number below a field; no field: the alternative as a whole."""

    rule: str
    selection: str
    alternative: int
    field: str | None
    value: int


class Seen(NamedTuple):
    """A labelled event as rules see it."""

    event: Labelled
    log_source: str
    data: dict[str, Any]
    read: Event


class Learnt:
    """The pack, and the events on which each of its items is at work."""

    def __init__(self, events: Sequence[Labelled]) -> None:
        self._seen = _seen(events)
        self._pack = _pack()
        self._needed = _needed(self._pack, self._seen)

    def held_out(self, by: str, folds: int, *, positives: bool) -> list[tuple[Labelled, bool]]:
        """Each event, and whether what is left of the pack flags it. `by`: `rule` or `source`; `positives`: whether what
        makes rules fire is taken back too, and not exclusions alone."""
        fold_of = [_fold(getattr(one.event, by), folds) for one in self._seen]
        judged: list[tuple[Labelled, bool]] = []
        for fold in range(folds):
            inside = {number for number, found in enumerate(fold_of) if found == fold}
            gone = {
                item
                for item, used in self._needed.items()
                if used <= inside and (positives or item.selection in _negated(self._pack[item.rule]))
            }
            chosen = [self._seen[number] for number in sorted(inside)]
            flagged = _flagged(_without(self._pack, gone), chosen)
            judged += zip((one.event for one in chosen), flagged, strict=True)
        return judged


def interval(judged: Sequence[tuple[Labelled, bool]]) -> tuple[Tally, tuple[float, ...]]:
    """The counts, and the 95 % intervals of recall and of the share of false alarms, drawn by upstream rules."""
    by_rule: dict[str, Counter[tuple[str, bool]]] = defaultdict(Counter)
    for event, flagged in judged:
        by_rule[event.rule][event.truth, flagged] += 1
    names, draw = sorted(by_rule), random.Random(1)
    drawn = [
        _tally(sum((by_rule[name] for name in draw.choices(names, k=len(names))), Counter()))
        for _ in range(_RESAMPLED)
    ]
    recalls = sorted(one.recall or 0.0 for one in drawn)
    false = sorted(one.false_rate or 0.0 for one in drawn)
    low, high = _RESAMPLED // 40, _RESAMPLED - _RESAMPLED // 40 - 1
    whole = _tally(sum(by_rule.values(), Counter()))
    return whole, (recalls[low], recalls[high], false[low], false[high])


def _tally(counts: Counter[tuple[str, bool]]) -> Tally:
    alerts, non_alerts = counts["alert", True], counts["non-alert", True]
    return Tally(alerts + counts["alert", False], alerts, non_alerts + counts["non-alert", False], non_alerts)


def _pack() -> dict[str, Doc]:
    found = {}
    for file in sorted(PACK.glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            found[str(document["id"])] = document
    return found


def _seen(events: Sequence[Labelled]) -> list[Seen]:
    enricher, recognise, found = enricher_with(None), load_mappings().recognise, []
    for event in events:
        document = enricher.enrich(None, event.value, [], AT, bytes(32)).document
        read = read_message(event.value, [])
        read.type, read.source, read.id = document.type, document.source, document.id
        found.append(Seen(event, document.log_source or "unknown", unwrap(recognise, read.data), read))
    return found


def _fold(name: str, folds: int) -> int:
    return int.from_bytes(sha256(f"0{name}".encode()).digest()[:8]) % folds


def _negated(document: Doc) -> set[str]:
    """The selections that a condition excludes."""
    found, words = set(), re.findall(r"\(|\)|[\w.*]+", document["detection"]["condition"])
    for place, word in enumerate(words):
        if word != "not":
            continue
        depth = 0
        for other in words[place + 1 :]:
            depth += {"(": 1, ")": -1}.get(other, 0)
            if other not in ("(", ")", "and", "or", "not"):
                found.add(other)
            if depth == 0:
                break
    return found


def _principles(pack: dict[str, Doc]) -> set[tuple[str, str]]:
    written: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, document in pack.items():
        for selection in _negated(document) & document["detection"].keys():
            text = json.dumps(document["detection"][selection], sort_keys=True)
            written[text].append((name, selection))
    return {place for places in written.values() if len(places) >= _PRINCIPLE for place in places}


def _alternatives(selection: Any) -> list[Any]:
    return selection if isinstance(selection, list) else [selection]


def _items(pack: dict[str, Doc]) -> Iterator[Item]:
    principles = _principles(pack)
    for name, document in pack.items():
        for selection, content in document["detection"].items():
            if selection == "condition" or (name, selection) in principles:
                continue
            for number, alternative in enumerate(_alternatives(content)):
                lists = {
                    field: values
                    for field, values in (alternative.items() if isinstance(alternative, dict) else ())
                    if isinstance(values, list) and len(values) > 1 and not field.endswith("|all")
                }
                if not lists:
                    yield Item(name, selection, number, None, 0)
                for field, values in lists.items():
                    yield from (Item(name, selection, number, field, value) for value in range(len(values)))


def _needed(pack: dict[str, Doc], seen: Sequence[Seen]) -> dict[Item, set[int]]:
    """The events on which each item is at work: its rule fires by it, or would fire but for it."""
    items, principles = list(_items(pack)), _principles(pack)
    probes = [_probe(pack[item.rule], item, principles) for item in items]
    rules, found = _compiled(probes), defaultdict(set)
    for number, one in enumerate(seen):
        for hit in rules.match(one.log_source, one.data, one.read):
            found[items[UUID(hit.hit.id).int - 1]].add(number)
    return found


def _probe(document: Doc, item: Item, principles: set[tuple[str, str]]) -> Doc:
    """The rule with this item alone in its selection; of an exclusion, the rule where the item holds."""
    detection = dict(document["detection"])
    alternative = _alternatives(detection[item.selection])[item.alternative]
    kept = alternative
    if item.field is not None:
        kept = alternative | {item.field: [alternative[item.field][item.value]]}
    if not isinstance(kept, dict):
        kept = [kept]
    negated = _negated(document)
    if item.selection in negated:
        for other in negated:
            if (item.rule, other) not in principles:
                detection[other] = {"ce.type": _NEVER}
        detection |= {"at_work": kept, "condition": f"({detection['condition']}) and at_work"}
    else:
        detection[item.selection] = kept
    return {**document, "detection": detection}


def _without(pack: dict[str, Doc], gone: set[Item]) -> dict[str, Doc]:
    left = {name: {**document, "detection": dict(document["detection"])} for name, document in pack.items()}
    lost: dict[tuple[str, str, int], list[Item]] = defaultdict(list)
    for item in gone:
        lost[item.rule, item.selection, item.alternative].append(item)
    for (name, selection, number), items in lost.items():
        detection = left[name]["detection"]
        alternatives = list(_alternatives(detection[selection]))
        alternatives[number] = _reduced(alternatives[number], items)
        detection[selection] = alternatives if len(alternatives) > 1 else alternatives[0]
    return left


def _reduced(alternative: Any, items: list[Item]) -> Any:
    if any(item.field is None for item in items):
        return {"ce.type": _NEVER}
    reduced = dict(alternative)
    for field in {item.field for item in items if item.field is not None}:
        lost = {item.value for item in items if item.field == field}
        reduced[field] = [value for place, value in enumerate(alternative[field]) if place not in lost] or [
            _NEVER
        ]
    return reduced


def _flagged(pack: dict[str, Doc], seen: Sequence[Seen]) -> list[bool]:
    rules, least = _compiled(list(pack.values())), RISKS.index(LEVEL)
    return [
        any(RISKS.index(hit.hit.level) >= least for hit in rules.match(one.log_source, one.data, one.read))
        for one in seen
    ]


def _compiled(documents: list[Doc]) -> RuleSet:
    """Rules under numbers for ids."""
    named = [document | {"id": str(UUID(int=number))} for number, document in enumerate(documents, 1)]
    with TemporaryDirectory() as folder:
        text = yaml.dump_all(named, Dumper=yaml.CSafeDumper, allow_unicode=True, sort_keys=False)
        (Path(folder) / "pack.yaml").write_text(text)
        rules = load_rules(load_mappings().all, pack=Path(folder))
    assert not rules.report.refused, rules.report.refused[:3]
    return rules


def main() -> int:
    """Prints a line for each way to take back; exit status 2 where there is no data."""
    if not DATA.is_dir():
        print(f"no labelled events: {DATA} is not there", file=sys.stderr)
        return 2
    events = [event for event in labelled() if event.source != "prompts"]
    learnt = Learnt(events)
    print(f"{'taken back':58}recall          false alarms")
    for by, folds in (("rule", 12), ("source", 20)):
        for what, positives in (("all that one fold alone needs", True), ("its exclusions alone", False)):
            counts, ends = interval(learnt.held_out(by, folds, positives=positives))
            low, high, least, most = (f"{100 * end:.0f}" for end in ends)
            recall, false = 100 * (counts.recall or 0), 100 * (counts.false_rate or 0)
            name = f"{folds} folds by {by}: {what}"
            print(f"{name:58}{recall:.0f} % ({low}-{high})   {false:.0f} % ({least}-{most})", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
