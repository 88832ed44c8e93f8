"""Which community rules can fire at all: for each, an event is made that satisfies it, written with the raw names of its
log source, recognised by its shape and judged as any other. What cannot fire is named, with the reason.

That the raw names are those of real events is what the real events show: see the last test.
"""

import json
import re
from collections import Counter

import pytest
from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.types import (
    SigmaBool,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaExpansion,
    SigmaNull,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaString,
)

from schemas.mapping import load_mappings
from services.enricher.enrich import Coordinates, EnrichSettings, load_enricher

pytestmark = pytest.mark.data

AT = Coordinates(bytes(16), 0, 0, 0)


@pytest.fixture(scope="module")
def enricher(shared_data):
    return load_enricher(EnrichSettings.model_validate({"RULES_DIR": shared_data / "sigma" / "rules"}))


def test_every_community_rule_can_fire_or_is_named(enricher):
    mappings = {mapping.log_source: mapping for mapping in load_mappings().all}
    community = [rule for rule in enricher.rules.report.loaded if "/pack/" not in rule.file]
    silent = [
        rule.hit.title
        for rule in community
        if not any(
            fires(enricher, rule, mappings[name]) for name in enricher.rules.covered(rule) if name in mappings
        )
    ]
    assert len(community) == 348
    assert silent == CANNOT_FIRE


CANNOT_FIRE: list[str] = []


def fires(enricher, rule, mapping):
    """Whether one of some events made for a rule sets it off: one for each way to be recognised."""
    for shape in mapping.recognise:
        data = {}
        for path, wanted in shape.items():
            put(data, path, mark(wanted))
        for condition in rule.conditions:
            satisfy(condition, data, mapping)
        document = enricher.enrich(None, json.dumps(data).encode(), [], AT, bytes(32)).document
        if rule.hit.id in {hit.id for hit in document.rules}:
            return True
    return False


def mark(wanted):
    first = wanted[0] if isinstance(wanted, list) else wanted
    return str(first).replace("*", "x") if isinstance(first, str) else first


def satisfy(node, data, mapping):
    """Writes into `data` what makes a condition true; what it must not have is left out."""
    if isinstance(node, ConditionAND):
        for child in node.args:
            satisfy(child, data, mapping)
    elif isinstance(node, ConditionOR):
        satisfy(
            next((child for child in node.args if not isinstance(child, ConditionNOT)), node.args[0]),
            data,
            mapping,
        )
    elif isinstance(node, ConditionFieldEqualsValueExpression):
        value = example(node.value)
        if value is not None:
            raw(node.field, value, data, mapping)
    elif isinstance(node, ConditionValueExpression):
        data["message"] = f"{data.get('message', '')} {example(node.value)}"


def raw(field, value, data, mapping):
    """Puts a value where the log source has it."""
    path = mapping.fields.get(field, [field])[0]
    if path.startswith("@"):
        return
    if "{" in path:
        path, rest = re.fullmatch(r"\{([^}]*)\}(.*)", path).groups()
        value = value.removesuffix(rest)
    earlier = got(data, path)
    put(
        data,
        path,
        f"{earlier} {value}" if isinstance(earlier, str) and earlier not in ("x", value) else value,
    )


def example(value):
    """A value that passes a test; None where nothing needs to be there."""
    while isinstance(value, SigmaExpansion):
        value = value.values[0]
    for kind, made in MADE.items():
        if isinstance(value, kind):
            return made(value)
    assert isinstance(value, SigmaString)
    return "".join(part if isinstance(part, str) else "x" for part in value.s)


MADE = {
    SigmaNull: lambda _value: None,
    SigmaExists: lambda value: "x" if value.exists else None,
    SigmaNumber: lambda value: value.number,
    SigmaBool: lambda value: value.boolean,
    SigmaCompareExpression: lambda value: value.number.number + OFFSETS[value.op.name],
    SigmaCIDRExpression: lambda value: str(value.network[1]),
    SigmaRegularExpression: lambda value: EXAMPLES[str(value.regexp)],
}
OFFSETS = {"GT": 1, "GTE": 0, "LT": -1, "LTE": 0}
EXAMPLES = {
    ".+:assumed-role/aws:.+": "arn:assumed-role/aws:ec2",
    "(^0oa.*|[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\\.[a-zA-Z]{2,10})": "0oa1",
}
"""A text for each regular expression of the rules."""


def put(data, path, value):
    *steps, last = path.split(".")
    for step in steps:
        data = data.setdefault(step, {})
        if not isinstance(data, dict):
            return
    data[last] = value


def got(data, path):
    for step in path.split("."):
        if not isinstance(data, dict) or step not in data:
            return None
        data = data[step]
    return data


def test_rules_of_many_log_sources_fire_on_real_events(enricher, shared_data):
    fired = set()
    for file in sorted(shared_data.glob("*.jsonl")):
        for line in file.read_bytes().splitlines():
            fired |= {hit.id for hit in enricher.enrich(None, line, [], AT, bytes(32)).document.rules}
    rules = enricher.rules.report.loaded
    own = Counter("/pack/" in rule.file for rule in rules if rule.hit.id in fired)
    products = {
        rule.logsource.product for rule in rules if rule.hit.id in fired and "/pack/" not in rule.file
    }
    print(f"of our rules {own[True]} fire on real events, of the community's {own[False]}")
    assert own[False] >= 55
    assert own[True] >= 120
    assert products >= {"aws", "azure", "gcp", "github", "kubernetes", "okta", "onelogin"}
