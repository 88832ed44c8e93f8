"""All rules, by log source and by the field that tells most of them apart, so that an event meets only rules that can
match it: of 57 CloudTrail rules, those for its eventName."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from schemas.catalog import CATALOG
from schemas.enrichment import RISKS, RuleHit
from schemas.events import Event
from schemas.mapping import GENERIC, UNKNOWN, LogSource, Mapping
from services.enricher.rules.compile import Needed, Predicate, check_conditions, compile_conditions
from services.enricher.rules.fields import Fields, Reader
from services.enricher.rules.load import PACK, Files, LoadReport, Refused, Rule
from services.enricher.rules.matches import Matcher
from services.enricher.rules.texts import RuleError
from services.enricher.rules.values import text_of
from services.enricher.rules.windowed import correlate

OWN_SOURCES = {
    CATALOG: LogSource(product="piperoll", service="catalog", category="application"),
    UNKNOWN: LogSource(product="piperoll", service="unknown", category="application"),
}
"""The log sources of events whose type the catalogue knows, and of those that neither it nor a mapping knows."""

ANY = LogSource(product="piperoll", service="any", category="any")
"""What rules call the events of every mapping and of none, but not those that the catalogue knows."""
MACHINE = LogSource(product="piperoll", service="machine", category="machine")
"""What rules for processes, name look-ups and connections call events that may hold such."""
_REMEMBERED = 2048
_REMEMBERED_LENGTH = 1000
"""Combinations of words and of keys whose rules are remembered for each log source, and characters of one."""
_TEXTS, _TEXTS_TOGETHER = 256, 50_000
"""Texts whose rules are remembered for each combination of keys, and for all those of a log source together: a sender may
write each text in many ways (`GetObject`, `gETOBJECT`)."""


Source = tuple[list[LogSource], Fields]
"""What rules call the events of a mapping, and how they name their fields."""


class Armed(NamedTuple):
    """A rule compiled for one log source."""

    predicate: Predicate
    hit: RuleHit
    tags: tuple[str, ...]
    keys: frozenset[str] | None = None
    """Of these the data must have one; None where it may have any."""


class _Table(NamedTuple):
    """The rules by the text of a field in lower case, and those found before for several texts at once. `keys`: of these
    the data has one wherever the field is there; None where that is not said by keys."""

    reader: Reader
    rules: dict[str, tuple[Armed, ...]]
    several: dict[tuple[str, ...], tuple[Armed, ...]]
    keys: frozenset[str] | None


_Narrowed = dict[str, tuple[Armed, ...]]
_Tables = tuple[
    tuple[Reader, dict[str, tuple[Armed, ...]], dict[tuple[str, ...], tuple[Armed, ...]], _Narrowed], ...
]


class _Plan(NamedTuple):
    """What data with the same keys at its top can meet: the tables whose field it may have, each with what the keys leave
    of the rules under a text, and the rules that are in no table."""

    tables: _Tables
    rest: tuple[Armed, ...]


class _Index(NamedTuple):
    """`by_field`: rules by the text of a field; `by_key`: those that no field's text selects, by the keys of which the
    data must have one; `always`: the rest; `plans`: what that comes to for the keys of events seen before; `texts`: how
    many texts these remember, at most."""

    by_field: tuple[_Table, ...]
    by_key: dict[str, tuple[Armed, ...]]
    always: tuple[Armed, ...]
    plans: dict[tuple[str, ...], _Plan]
    texts: list[int]


class _Indexes(dict[str, _Index]):
    """The index of each log source, made at its first event: most installations have few of them, and all together cost
    a second at every start."""

    def __init__(self, armed: dict[str, list[tuple[Rule, Needed]]], sources: dict[str, Source]) -> None:
        super().__init__()
        self._armed, self._sources = armed, sources

    def __missing__(self, log_source: str) -> _Index:
        made = self[log_source] = _index(self._armed[log_source], self._sources[log_source][1])
        return made


class RuleSet:
    """Compiled rules. `report` says what was loaded, refused, and has no events to look at. Raises nothing: a rule that
    cannot be compiled is in the report."""

    def __init__(self, read: LoadReport, mappings: Iterable[Mapping]) -> None:
        self.version = read.version
        self.sources: dict[str, Source] = {
            CATALOG: ([OWN_SOURCES[CATALOG]], Fields({})),
            UNKNOWN: ([OWN_SOURCES[UNKNOWN], ANY, MACHINE], Fields.of(GENERIC)),
        }
        """By the name of a mapping: what rules call its events, and the fields of rules in them."""
        self.sources |= {
            mapping.log_source: ([*mapping.logsources, ANY], Fields.of(mapping)) for mapping in mappings
        }
        armed: dict[str, list[tuple[Rule, Needed]]] = {name: [] for name in self.sources}
        report = LoadReport([], [*read.refused], [], [*read.windowed], read.version)
        for rule in read.loaded:
            _arm(rule, self.sources, armed, report)
        self.report = report
        self.correlations = correlate(read.windowed, report.loaded)
        self.matcher = Matcher(self.correlations) if self.correlations.running else None
        self._indexes = _Indexes(armed, self.sources)

    def covered(self, rule: Rule) -> list[str]:
        """The mappings whose events a rule looks at."""
        return _covered(rule, self.sources)

    def match(self, log_source: str, data: dict[str, Any], event: Event) -> list[Armed]:
        """The rules that fire on an event, in no particular order."""
        index, keys = self._indexes[log_source], tuple(data)
        tables, rest = index[3].get(keys) or _plan(index, keys)
        candidates = [*rest]
        for reader, table, several, narrowed in tables:
            value = reader(data, event)
            if type(value) is str:
                found: Sequence[Armed] | None = narrowed.get(value)
                if found is None and (rules := table.get(value.lower())) is not None:
                    found = _narrow(index, narrowed, value, rules, keys)
            elif value is None or value == []:
                continue
            else:
                found = _of_several(table, several, value)
            if found:
                candidates += found
        hits: list[Armed] = []
        for rule in candidates:
            if rule[0](data, event):
                hits.append(rule)  # noqa: PERF401 - a comprehension is a function made anew for every event
        return hits


def load_rules(mappings: Iterable[Mapping], directory: Path | None = None, *, pack: Path = PACK) -> RuleSet:
    """Our own pack and, where given, a folder of the user's, compiled. Raises DocumentError where a folder does not
    exist; rules that cannot be used are in the report."""
    return RuleSet(Files([pack] if directory is None else [pack, directory]).read(), mappings)


def by_risk(hits: list[Armed]) -> list[Armed]:
    """Hits, highest level first, then by id."""
    return sorted(hits, key=lambda rule: (-RISKS.index(rule.hit.level), rule.hit.id))


def _arm(
    rule: Rule, sources: dict[str, Source], armed: dict[str, list[tuple[Rule, Needed]]], report: LoadReport
) -> None:
    """Checks that a rule can be compiled for every log source that it covers, or for nothing."""
    covered = _covered(rule, sources)
    try:
        needed = {name: check_conditions(rule.conditions, sources[name][1]) for name in covered}
        if not covered:
            check_conditions(rule.conditions, Fields({}))
    except RuleError as error:
        report.refused.append(Refused(rule.file, rule.hit.title, str(error), rule.line))
        return
    for name in covered:
        armed[name].append((rule, needed[name]))
    report.loaded.append(rule)
    if not covered:
        report.dormant.append(rule)


def _covered(rule: Rule, sources: dict[str, Source]) -> list[str]:
    return [
        name for name, (own, _) in sources.items() if any(rule.logsource.covers(source) for source in own)
    ]


def _index(pairs: list[tuple[Rule, Needed]], fields: Fields) -> _Index:
    """Each rule stands under the one field that, over all rules, has the most different values; without one, under the
    keys that its fields stand under."""
    values: dict[str, set[str]] = defaultdict(set)
    for _, needed in pairs:
        for field, texts in needed.items():
            values[field] |= texts
    tables: dict[str, dict[str, list[Armed]]] = defaultdict(lambda: defaultdict(list))
    by_key: dict[str, list[Armed]] = defaultdict(list)
    always = []
    for rule, needed in pairs:
        best = max(needed, key=lambda field: (len(values[field]), field), default=None)
        known = {} if best is None else {best: needed[best]}
        compiled = compile_conditions(rule.conditions, fields, known)
        made = Armed(compiled.predicate, rule.hit, rule.tags, compiled.keys)
        if best is not None:
            for text in known[best]:
                tables[best][text].append(made)
        elif compiled.keys is not None:
            for key in compiled.keys:
                by_key[key].append(made)
        else:
            always.append(made)
    by_field = tuple(
        _Table(
            fields.reader(field),
            {text: tuple(rules) for text, rules in table.items()},
            {},
            fields.keys(field),
        )
        for field, table in tables.items()
    )
    return _Index(by_field, {key: tuple(rules) for key, rules in by_key.items()}, tuple(always), {}, [0])


def _plan(index: _Index, keys: tuple[str, ...]) -> _Plan:
    """What data with these keys can meet, remembered for the next event with the same."""
    tables: _Tables = tuple(
        (table.reader, table.rules, table.several, {})
        for table in index.by_field
        if table.keys is None or not table.keys.isdisjoint(keys)
    )
    once = {id(rule): rule for key in keys for rule in index.by_key.get(key, ())}
    made = _Plan(tables, (*once.values(), *index.always))
    if len(index.plans) >= _REMEMBERED:
        index.plans.clear()
    if sum(map(len, keys)) <= _REMEMBERED_LENGTH:
        index.plans[keys] = made
    return made


def _narrow(
    index: _Index, narrowed: _Narrowed, text: str, rules: tuple[Armed, ...], keys: tuple[str, ...]
) -> tuple[Armed, ...]:
    """Of the rules under a text those that can fire on data with these keys, remembered."""
    found = tuple(rule for rule in rules if rule.keys is None or not rule.keys.isdisjoint(keys))
    index.texts[0] += 1
    if index.texts[0] > _TEXTS_TOGETHER:
        index.plans.clear()
        index.texts[0] = 0
    if len(narrowed) >= _TEXTS:
        narrowed.clear()
    narrowed[text] = found
    return found


def _of_several(
    table: dict[str, tuple[Armed, ...]], several: dict[tuple[str, ...], tuple[Armed, ...]], value: Any
) -> Sequence[Armed]:
    """The rules under a value that is no string; remembered for several texts at once."""
    if type(value) is not tuple:
        return _lookup(table, value)
    found = several.get(value)
    return _remember(several, value, _lookup(table, value)) if found is None else found


def _remember(
    several: dict[tuple[str, ...], tuple[Armed, ...]], texts: tuple[str, ...], found: Sequence[Armed]
) -> tuple[Armed, ...]:
    """`found`, kept for the next event with these texts. Bounded, whatever senders think of."""
    if len(several) >= _REMEMBERED:
        several.clear()
    kept = tuple(found)
    if sum(map(len, texts)) <= _REMEMBERED_LENGTH:
        several[texts] = kept
    return kept


def _lookup(table: dict[str, tuple[Armed, ...]], value: Any) -> Sequence[Armed]:
    """The rules under the texts of a value that is no string, each once."""
    found: dict[int, Armed] = {}
    todo = [value]
    while todo:
        item = todo.pop()
        if type(item) is list or type(item) is tuple:
            todo.extend(item)
        elif (text := text_of(item)) is not None:
            found |= {id(rule): rule for rule in table.get(text.lower(), ())}
    return list(found.values())
