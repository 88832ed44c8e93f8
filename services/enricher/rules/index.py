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
from services.enricher.rules.compile import Needed, Predicate, compile_conditions
from services.enricher.rules.fields import Fields, Reader
from services.enricher.rules.load import PACK, LoadReport, Refused, Rule, read_rules
from services.enricher.rules.texts import RuleError
from services.enricher.rules.values import text_of

OWN_SOURCES = {
    CATALOG: LogSource(product="piperoll", service="catalog", category="application"),
    UNKNOWN: LogSource(product="piperoll", service="unknown", category="application"),
}
"""The log sources of events whose type the catalogue knows, and of those that neither it nor a mapping knows."""

ANY = LogSource(product="piperoll", service="any", category="any")
"""What rules call the events of every mapping and of none, but not those that the catalogue knows."""


Source = tuple[list[LogSource], Fields]
"""What rules call the events of a mapping, and how they name their fields."""


class Armed(NamedTuple):
    """A rule compiled for one log source."""

    predicate: Predicate
    hit: RuleHit
    tags: tuple[str, ...]


class _Index(NamedTuple):
    """`by_field`: reader of a field, and the rules by its text in lower case; `always`: rules that no field selects."""

    by_field: tuple[tuple[Reader, dict[str, tuple[Armed, ...]]], ...]
    always: tuple[Armed, ...]


class RuleSet:
    """Compiled rules. `report` says what was loaded, refused, and has no events to look at."""

    def __init__(
        self, rules: list[Rule], refused: list[Refused], version: str, mappings: Iterable[Mapping]
    ) -> None:
        self.version = version
        sources: dict[str, Source] = {
            CATALOG: ([OWN_SOURCES[CATALOG]], Fields({})),
            UNKNOWN: ([OWN_SOURCES[UNKNOWN], ANY], Fields.of(GENERIC)),
        }
        sources |= {
            mapping.log_source: ([*mapping.logsources, ANY], Fields.of(mapping)) for mapping in mappings
        }
        armed: dict[str, list[tuple[Rule, Needed]]] = {name: [] for name in sources}
        report = LoadReport([], list(refused), [], version)
        for rule in rules:
            _arm(rule, sources, armed, report)
        self.report = report
        self._indexes = {name: _index(pairs, sources[name][1]) for name, pairs in armed.items()}

    def match(self, log_source: str, data: dict[str, Any], event: Event) -> list[Armed]:
        """The rules that fire on an event, in no particular order."""
        by_field, always = self._indexes[log_source]
        hits: list[Armed] = []
        for reader, table in by_field:
            value = reader(data, event)
            if type(value) is str:
                found: Sequence[Armed] | None = table.get(value.lower())
            elif value is None or value == []:
                continue
            else:
                found = _lookup(table, value)
            if found is not None:
                hits += [rule for rule in found if rule[0](data, event)]
        if always:
            hits += [rule for rule in always if rule[0](data, event)]
        return hits


def load_rules(mappings: Iterable[Mapping], directory: Path | None = None, *, pack: Path = PACK) -> RuleSet:
    """Our own pack and, where given, a folder of the user's, compiled. Raises DocumentError where a folder does not
    exist; rules that cannot be used are in the report."""
    rules, refused, version = read_rules([pack] if directory is None else [pack, directory])
    return RuleSet(rules, refused, version, mappings)


def by_risk(hits: list[Armed]) -> list[Armed]:
    """Hits, highest level first, then by id."""
    return sorted(hits, key=lambda rule: (-RISKS.index(rule.hit.level), rule.hit.id))


def _arm(
    rule: Rule, sources: dict[str, Source], armed: dict[str, list[tuple[Rule, Needed]]], report: LoadReport
) -> None:
    """Compiles a rule for every log source that it covers, or once for nothing, to know that it can be."""
    covered = [
        name for name, (own, _) in sources.items() if any(rule.logsource.covers(source) for source in own)
    ]
    try:
        needed = {name: compile_conditions(rule.conditions, sources[name][1]).needed for name in covered}
        if not covered:
            compile_conditions(rule.conditions, Fields({}))
    except RuleError as error:
        report.refused.append(Refused(rule.file, rule.hit.title, str(error)))
        return
    for name in covered:
        armed[name].append((rule, needed[name]))
    report.loaded.append(rule)
    if not covered:
        report.dormant.append(rule)


def _index(pairs: list[tuple[Rule, Needed]], fields: Fields) -> _Index:
    """Each rule stands under the one field that, over all rules, has the most different values."""
    values: dict[str, set[str]] = defaultdict(set)
    for _, needed in pairs:
        for field, texts in needed.items():
            values[field] |= texts
    tables: dict[str, dict[str, list[Armed]]] = defaultdict(lambda: defaultdict(list))
    always = []
    for rule, needed in pairs:
        best = max(needed, key=lambda field: (len(values[field]), field), default=None)
        known = {} if best is None else {best: needed[best]}
        predicate = compile_conditions(rule.conditions, fields, known).predicate
        made = Armed(predicate, rule.hit, rule.tags)
        if best is None:
            always.append(made)
        for text in known.get(best or "", ()):
            tables[best or ""][text].append(made)
    by_field = tuple(
        (fields.reader(field), {text: tuple(rules) for text, rules in table.items()})
        for field, table in tables.items()
    )
    return _Index(by_field, tuple(always))


def _lookup(table: dict[str, tuple[Armed, ...]], value: Any) -> Sequence[Armed]:
    """The rules under the texts of a value that is no string, each once."""
    found: dict[int, Armed] = {}
    todo = [value]
    while todo:
        item = todo.pop()
        if type(item) is list:
            todo.extend(item)
        elif (text := text_of(item)) is not None:
            found |= {id(rule): rule for rule in table.get(text.lower(), ())}
    return list(found.values())
