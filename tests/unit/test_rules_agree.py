"""Our compiled predicates against an independent evaluation: pySigma's SQLite backend, on every community rule and every
real event.

Both sides share pySigma's parser and the mappings' aliases (which say where a field stands), nothing else: values are
looked up, flattened and matched here by other code. An event that has several values where SQLite has one column becomes
several rows, and fires where one of them does: that is what a list means. Every disagreement must be explained in
EXPLAINED, one pair of rule and event at a time.
"""

import json
import re
import sqlite3
from collections import Counter, defaultdict

import pytest
from sigma.backends.sqlite import sqliteBackend
from sigma.collection import SigmaCollection
from sigma.conditions import ConditionFieldEqualsValueExpression, ConditionValueExpression
from sigma.types import SigmaFieldReference

from schemas.events import Event
from schemas.mapping import GENERIC, load_mappings
from services.enricher.rules.compile import compile_conditions
from services.enricher.rules.fields import Fields

pytestmark = [pytest.mark.data, pytest.mark.timeout(600)]

EXPLAINED: dict[tuple[str, str], str] = {}
"""By the title of a rule and the place of an event, why the two sides differ."""

FULL_TEXT = "full_text"


def test_our_predicates_and_sqlite_agree_on_every_rule_and_every_real_event(shared_data):
    rules = community(shared_data)
    assert len(rules) == 348
    counts, differ = Counter(), {}
    for mapping, events in events_by_mapping(shared_data).items():
        database = Database(rules, mapping, events)
        for rule in rules:
            counts.update(compare(rule, mapping, events, database, differ))
    assert {pair: what for pair, what in differ.items() if pair not in EXPLAINED} == {}
    assert set(EXPLAINED) == set(differ), "an explanation that nothing needs any more"
    assert counts["both fire"] > 300
    assert counts["by several rows"] > 50
    assert counts.total() - counts["by several rows"] == 348 * sum(1 for _ in real_events(shared_data))
    print(dict(counts))


def compare(rule, mapping, events, database, differ):
    ours = compile_conditions(
        [condition.parse() for condition in rule.parsed.detection.parsed_condition], Fields.of(mapping)
    ).predicate
    theirs = database.matches(rule)
    for number, (where, data) in enumerate(events):
        if rule.fields & database.several[number]:
            yield "by several rows"
        fires = bool(ours(data, Event("bare", "", "", "", data, data)))
        if fires != (number in theirs):
            several = sorted(rule.fields & database.several[number])
            differ[rule.title, where] = ("ours fires" if fires else "SQLite fires", several)
            yield "differ"
        else:
            yield "both fire" if fires else "neither fires"


class Community:
    """One community rule: its condition as SQL and the names of its fields."""

    def __init__(self, file):
        collection = SigmaCollection.from_yaml(file.read_text())
        (self.parsed,) = collection.rules
        self.title = str(self.parsed.title)
        (sql,) = Backend(fulltext_field=FULL_TEXT).convert(collection)
        self.sql = sql.replace("SELECT * FROM", "SELECT number FROM", 1)
        nodes = [
            node
            for condition in self.parsed.detection.parsed_condition
            for node in leaves(condition.parse())
            if isinstance(node, ConditionFieldEqualsValueExpression)
        ]
        self.fields = {node.field for node in nodes} | {
            node.value.field for node in nodes if isinstance(node.value, SigmaFieldReference)
        }


class Backend(sqliteBackend):
    """SQLite's columns know no upper case, Sigma's fields do: `Status` becomes the column `^status`."""

    def escape_and_quote_field(self, field):
        return f"`{field}`" if field == FULL_TEXT else f"`{column(field)}`"


def column(field):
    return re.sub("[A-Z]", lambda letter: "^" + letter[0].lower(), field)


def community(shared_data):
    return [Community(file) for file in sorted((shared_data / "sigma" / "rules").rglob("*.yml"))]


def leaves(node):
    if isinstance(node, ConditionFieldEqualsValueExpression | ConditionValueExpression):
        return [node]
    return [leaf for child in node.args for leaf in leaves(child)]


def real_events(shared_data):
    for file in sorted(shared_data.glob("*.jsonl")):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            yield f"{file.name}:{number}", json.loads(line)


def events_by_mapping(shared_data):
    mappings, found = load_mappings(), defaultdict(list)
    for where, data in real_events(shared_data):
        found[mappings.recognise(data) or GENERIC].append((where, data))
    return found


class Database:
    """The events of one mapping as a table with a column for each field of the rules. `several`: by event, the fields
    that have more than one value."""

    def __init__(self, rules, mapping, events):
        self.several = []
        self._fields = sorted(set().union(*(rule.fields for rule in rules)))
        self._connection = sqlite3.connect(":memory:")
        self._connection.create_function("regexp", 2, searched)
        columns = ", ".join(f"`{column(field)}` TEXT COLLATE NOCASE" for field in self._fields)
        self._connection.execute(
            f"CREATE TABLE logs (number INTEGER, {FULL_TEXT} TEXT COLLATE NOCASE, {columns})"
        )
        marks = ", ".join("?" * (len(self._fields) + 2))
        for number, (_, data) in enumerate(events):
            values = [found(mapping.fields.get(field, [field]), data, mapping) for field in self._fields]
            self.several.append(
                {
                    field
                    for field, value in zip(self._fields, values, strict=True)
                    if isinstance(value, list) and len(value) > 1
                }
            )
            for row in rows(values):
                whole = [number, "\n".join(texts(data)), *map(flat, row)]
                self._connection.execute(f"INSERT INTO logs VALUES ({marks})", whole)

    def matches(self, rule):
        return {row[0] for row in self._connection.execute(rule.sql)}


def rows(values):
    """One row, or for lists so many that each item stands in one of them."""
    longest = max((len(value) for value in values if isinstance(value, list)), default=1)
    for number in range(max(longest, 1)):
        yield [value[number % len(value)] if isinstance(value, list) and value else value for value in values]


def searched(pattern, value):
    return value is not None and re.search(pattern, str(value)) is not None


def found(paths, data, mapping):
    """The first value that a field's aliases find."""
    for path in paths:
        if path == "@outcome":
            return mapping.who(data, Event("bare", "", "", "", data, data)).outcome
        if "{" in path:
            name, _, rest = path.partition("}")
            inner = found([name.lstrip("{")], data, mapping)
            return None if inner is None else f"{inner}{rest}"
        value = at(data, path)
        if value not in (None, "", []):
            return value
    return at(data, paths[-1]) if "{" not in paths[-1] else None


def at(value, path):
    """The value at a dotted path; lists are gone through by item, a key may itself have dots in it."""
    if isinstance(value, list):
        inner = [at(item, path) for item in value]
        spread = [one for item in inner for one in (item if isinstance(item, list) else [item])]
        return [one for one in spread if one is not None] or None
    if not isinstance(value, dict):
        return None
    if path in value:
        return value[path]
    head, _, rest = path.partition(".")
    return at(value[head], rest) if rest and head in value else None


def flat(value):
    if isinstance(value, list):
        return flat(value[0]) if len(value) == 1 else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return None if value is None else str(value)


def texts(value):
    """Every key and every value of an event."""
    if isinstance(value, dict):
        return [text for key, child in value.items() for text in (key, *texts(child))]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    shown = flat(value)
    return [] if shown is None else [shown]
