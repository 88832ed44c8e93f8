"""`piperoll rules`: what can be used, what cannot and why, and why a rule fires."""

import json

import pytest
from typer.testing import CliRunner

from services.cli.rules import app

RULE = """title: Gate opened
id: 5f113a8f-8b61-41ca-b90f-000000000001
logsource: {product: piperoll, service: unknown}
detection:
  selection: {gate: north, hour|gte: 22}
  filter: {by: watchman}
  condition: selection and not filter
level: high
"""
CORRELATION = """title: Many gates
name: many
correlation: {type: event_count, rules: [gate], group-by: [by], timespan: 10m, condition: {gte: 5}}
level: high
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "good.yml").write_text(RULE)
    return tmp_path


def run(*arguments, code=0):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == code, result.output
    return result.stdout


def test_every_rule_is_listed_with_what_it_looks_at(folder):
    (folder / "many.yml").write_text(CORRELATION)
    (folder / "away.yml").write_text(RULE.replace("unknown", "nowhere").replace("01\n", "02\n"))
    rows = json.loads(run("list", "--rules", folder, "--json"))
    by_title = {(row["title"], row["state"]): row for row in rows}
    assert by_title["Gate opened", "used"]["sources"] == ["unknown"]
    assert by_title["Gate opened", "no events"]["reason"].endswith("service nowhere")
    assert by_title["Many gates", "does not run"]["reason"] == "no loaded rule has the name or id gate"
    (folder / "good.yml").write_text(RULE + "name: gate\n")
    rows = json.loads(run("list", "--rules", folder, "--json"))
    by_title = {row["title"]: row for row in rows}
    assert by_title["Many gates"]["state"] == "over a window"
    assert by_title["Many gates"]["reason"] == "by the alerter: 5 events within 600 s by by"


def test_a_rule_that_cannot_be_used_is_told_with_file_line_and_status_1(folder):
    (folder / "bad.yml").write_text(RULE.replace("not filter", "not nothing"))
    assert "bad.yml:7: Gate opened:" in run("test", "--rules", folder, code=1)
    assert run("list", "--rules", folder, code=1)


def test_files_of_events_are_counted_by_rule(folder):
    events = folder / "events.jsonl"
    events.write_text('{"gate": "north", "hour": 23}\n\n{"gate": "south", "hour": 23}\n')
    told = json.loads(run("test", events, "--rules", folder, "--json"))
    assert told["hits"] == {"high: Gate opened (5f113a8f-8b61-41ca-b90f-000000000001)": 1}
    assert told["risks"] == {"high": 1, "informational": 1}


def test_events_of_standard_input_are_counted_by_rule_and_towards_correlations(folder):
    (folder / "good.yml").write_text(RULE + "name: gate\n")
    (folder / "many.yml").write_text(CORRELATION)
    event = '{"gate": "north", "hour": 23, "by": "ann"}\n'
    result = CliRunner().invoke(app, ["test", "-", "--rules", str(folder)], input=event * 3)
    assert "3 high: Gate opened" in result.stdout
    assert "3 count towards Many gates (Many gates), which the alerter judges" in result.stdout


def test_rules_that_ask_for_fields_which_no_event_has_are_named(folder):
    """A field counts as there if any event of the log source has it, in whatever value, or the mapping names it."""
    (folder / "misspelt.yml").write_text(
        RULE.replace("gate:", "gaet:").replace("01\n", "02\n").replace("Gate opened", "Misspelt")
    )
    either = RULE.replace(
        "condition: selection and", "or: {gaet: north, by: x}\n  condition: (selection or or) and"
    )
    (folder / "mapped.yml").write_text(
        "title: Mapped\nid: 5f113a8f-8b61-41ca-b90f-000000000004\n"
        "logsource: {product: okta, service: okta}\n"
        "detection: {one: {eventtype: x}, two: {eventTyp: y}, condition: one or two}\n---\n"
        + either.replace("01\n", "03\n")
        .replace("Gate opened", "Absent only if null")
        .replace("gaet: north", "gaet: null")
    )
    events = folder / "events.jsonl"
    events.write_text('{"gate": "south", "hour": 3, "by": "a"}\n{"gate": "east"}\n')
    told = json.loads(run("test", events, "--rules", folder, "--json"))["cannot_fire"]
    assert [(one["title"], one["missing"], one["events"]) for one in told] == [("Misspelt", ["gaet"], 2)]
    said = run("test", events, "--rules", folder)
    assert "cannot fire: Misspelt" in said
    assert "of 2 events of unknown none has gaet" in said
    events.write_text("")
    assert json.loads(run("test", events, "--rules", folder, "--json"))["cannot_fire"] == []


def test_many_log_sources_are_cut_short_for_people(folder):
    (folder / "good.yml").write_text(RULE.replace("service: unknown", "service: any"))
    assert "more (" in run("list", "--rules", folder)


def test_an_event_is_explained_by_what_each_test_found(folder):
    told = json.loads(run("explain", '{"gate": "North", "hour": 23}', "--rules", folder, "--json"))
    (rule,) = told["rules"]
    assert rule["fires"]
    assert [(test["field"], test["found"], test["holds"], test["negated"]) for test in rule["tests"]] == [
        ("gate", "North", True, False),
        ("hour", "23", True, False),
        ("by", None, False, True),
    ]
    text = run(
        "explain", '{"gate": "x", "hour": 2, "by": "watchman"}', "--rules", folder, "--rule", "Gate opened"
    )
    assert "does not fire: high Gate opened" in text
    assert "no  gate: asks for north, found x" in text
    assert "yes not by: asks for watchman, found watchman" in text


def test_what_cannot_be_read_is_told_with_status_2(folder, tmp_path):
    run("explain", tmp_path / "none.json", "--rules", folder, code=2)
    run("explain", "{}", "--rule", "no such rule", "--rules", folder, code=2)
    run("list", "--rules", tmp_path / "none", code=2)
    run("test", tmp_path / "none.jsonl", "--rules", folder, code=2)


def test_poison_and_odd_events_are_explained_too(folder):
    for event in ("{", "[1]", "[", '{"a": '):
        assert run("explain", event, "--rules", folder)
