"""Clauses are mapped from tags and facts; a clause that is not listed fails the check."""

import subprocess
import sys

import pytest

from schemas.control_facts import FACTS, Fact
from schemas.controls import NO_VERDICT, SHIPPED, FrameworkForm, load_controls
from schemas.documents import DocumentError, read_entries, yaml_files
from schemas.mapping import load_mappings
from services.enricher.rules.index import load_rules

FRAMEWORK = """framework: Example
edition: "1"
version: 1
clauses:
  - {clause: "1.1", says: "Doors are counted.", not_shown: "Windows.", source: "https://example.com/1", checked: 2026-05-01}
  - {clause: "1.2", says: "Keys are counted.", not_shown: "Copies of keys.", source: "https://example.com/1", checked: 2026-05-01}
tags:
  door: ["1.1"]
  "key:*": ["1.2", "1.1"]
exceptions:
  "key:lost": ["1.2"]
facts:
  actor: ["1.2"]
  verified: ["1.1"]
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "example.yaml").write_text(FRAMEWORK)
    return tmp_path


def names(clauses):
    return [clause.clause for clause in clauses]


def test_tags_and_facts_lead_to_clauses_each_once(folder):
    controls = load_controls(folder)
    assert names(controls.for_tags(["door", "key:lost", "key:made", "other"])) == ["1.1", "1.2"]
    assert names(controls.for_tags(["door"])) == ["1.1"]
    assert names(controls.for_tags(["doors", "keys"])) == []
    assert names(controls.for_facts(["actor", "chained"])) == ["1.2"]
    with pytest.raises(KeyError, match="guess"):
        controls.for_facts(["guess"])


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('door: ["1.1"]', 'door: ["1.3"]', "clause 1.3 is not in clauses"),
        ('actor: ["1.2"]', 'actor: ["9"]', "clause 9 is not in clauses"),
        ("  actor:", "  mood:", "fact mood is not one of"),
        ('clause: "1.2"', 'clause: "1.1"', "twice"),
        ('says: "Keys are counted."', 'says: ""', "says"),
        ("checked: 2026-05-01", "checked: soon", "checked"),
        ("version: 1", "version: 1\nrights: all", "rights"),
        ('"key:lost": ["1.2"]', '"key:lost": ["2"]', "exception key:lost: clause 2 is not in clauses"),
        ('not_shown: "Windows."', 'not_shown: ""', "not_shown"),
        ('says: "Doors are counted."', 'says: "Who counts doors is compliant."', "no verdict"),
        (
            'says: "Doors are counted."',
            'says: "Doors are counted for six months."',
            "no verdict and no deadline",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_file_and_reason(folder, old, new, reason):
    (folder / "example.yaml").write_text(FRAMEWORK.replace(old, new))
    with pytest.raises(DocumentError, match=reason) as error:
        load_controls(folder)
    assert "example.yaml" in str(error.value)


def test_one_framework_stands_in_one_file(folder):
    (folder / "more.yaml").write_text(FRAMEWORK)
    with pytest.raises(DocumentError, match="another file"):
        load_controls(folder)


def by_clause(folder, tags, facts):
    return {line.clause: line for line in load_controls(folder).lines(tags, facts)}


def test_a_line_says_what_the_records_show_and_what_they_do_not(folder):
    lines = by_clause(folder, {"door": 1200, "other": 5}, {"verified": Fact(31)})
    assert lines["1.1"].shows == ["Events tagged door: 1,200", "Verifications of the log: 31"]
    assert (lines["1.1"].state, lines["1.1"].not_shown) == ("operation", "Windows.")
    assert (lines["1.1"].tags, lines["1.1"].facts) == ({"door": 1200}, {"verified": Fact(31)})
    assert (lines["1.2"].state, lines["1.2"].shows) == ("nothing", [])


def test_what_goes_against_a_clause_is_an_exception_of_it_and_of_no_other(folder):
    lines = by_clause(folder, {"key:lost": 2}, {})
    assert lines["1.1"].state == "operation"
    assert (lines["1.2"].state, lines["1.2"].exceptions) == ("exception", {"key:lost": 2})
    assert "Against it, events tagged key:lost: 2" in lines["1.2"].shows


def test_a_verification_that_failed_is_an_exception_and_an_event_without_actor_is_only_said(folder):
    lines = by_clause(folder, {}, {"verified": Fact(31, 1), "actor": Fact(90, 10)})
    assert lines["1.1"].state == "exception"
    assert lines["1.1"].shows == ["Verifications of the log: 31; that found it damaged or did not end: 1"]
    assert lines["1.2"].state == "operation"
    assert lines["1.2"].shows == ["Events that say who acted: 90; that do not: 10"]


def test_nothing_counted_is_no_operation(folder):
    assert {line.state for line in load_controls(folder).lines({"door": 0}, {"verified": Fact(0)})} == {
        "nothing"
    }
    with pytest.raises(KeyError, match="guess"):
        load_controls(folder).lines({}, {"guess": Fact(1)})


def test_the_shipped_controls_are_whole():
    controls = load_controls()
    frameworks = {clause.framework for clause in controls.clauses}
    assert {
        "PCI DSS",
        "NIST SP 800-53",
        "HIPAA Security Rule",
        "EU AI Act",
        "ISO/IEC 27001",
        "GDPR",
        "DORA",
        "NIS 2",
    } < frameworks
    assert "10.2.1.6" in names(controls.for_tags(["cloud:logging-off"]))
    assert {"AU-3", "10.2.2"} <= set(names(controls.for_facts(["actor"])))
    assert controls.for_facts(FACTS)


def test_that_logging_was_stopped_is_an_operation_of_one_clause_and_an_exception_of_others():
    lines = {
        (line.framework, line.clause): line for line in load_controls().lines({"cloud:logging-off": 3}, {})
    }
    assert lines["PCI DSS", "10.2.1.6"].state == "operation"
    assert lines["PCI DSS", "10.7.2"].state == lines["DORA", "12(2)(e)"].state == "exception"


def test_every_tag_that_controls_name_is_one_that_an_event_can_have():
    """A misspelt tag would make a line that never shows anything."""
    given = {tag for rule in load_rules(load_mappings().all).report.loaded for tag in rule.tags}
    noticed = ("catalog:", "time:", "identity:", "source:")
    for file in yaml_files(SHIPPED):
        for form in read_entries(file, FrameworkForm, "framework"):
            for tag in (*form.tags, *form.exceptions):
                beginning = tag.removesuffix("*")
                assert beginning.startswith(noticed) or any(one.startswith(beginning) for one in given), (
                    file.name,
                    tag,
                )


def test_no_line_is_a_verdict_whatever_was_counted():
    facts = dict.fromkeys(FACTS, Fact(5, 2))
    said = " ".join(
        text for line in load_controls().lines({"auth:failed": 1}, facts) for text in (*line.shows, line.says)
    )
    assert not any(word in said.casefold() for word in ("complian", "certified", "complies"))
    assert "auditor" in NO_VERDICT


def test_make_check_runs_the_check():
    assert subprocess.run([sys.executable, "-m", "schemas.controls"], check=False).returncode == 0
