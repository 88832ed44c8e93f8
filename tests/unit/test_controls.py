"""Clauses are mapped from tags and facts; a clause that is not listed fails the check."""

import subprocess
import sys

import pytest

from schemas.controls import FACTS, load_controls
from schemas.documents import DocumentError

FRAMEWORK = """framework: Example
edition: "1"
version: 1
clauses:
  - {clause: "1.1", says: "Doors are counted.", source: "https://example.com/1", checked: 2026-05-01}
  - {clause: "1.2", says: "Keys are counted.", source: "https://example.com/1", checked: 2026-05-01}
tags:
  door: ["1.1"]
  "key:*": ["1.2", "1.1"]
facts:
  actor: ["1.2"]
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


def test_the_shipped_controls_are_whole():
    controls = load_controls()
    assert {clause.framework for clause in controls.clauses} == {
        "PCI DSS",
        "NIST SP 800-53",
        "HIPAA Security Rule",
        "EU AI Act",
    }
    assert "10.2.1.6" in names(controls.for_tags(["cloud:logging-off"]))
    assert {"AU-3", "10.2.2"} <= set(names(controls.for_facts(["actor"])))
    assert controls.for_facts(FACTS)


def test_make_check_runs_the_check():
    assert subprocess.run([sys.executable, "-m", "schemas.controls"], check=False).returncode == 0
