"""Rules that can be used are loaded, the others are named with file and reason, and real events set them off."""

import msgspec
import pytest

from schemas.documents import DocumentError
from schemas.events import Event
from schemas.mapping import load_mappings
from services.enricher.rules.compile import compile_conditions
from services.enricher.rules.fields import Fields
from services.enricher.rules.index import ANY, load_rules
from services.enricher.rules.load import tag_of

RULE = """
title: {title}
id: {id}
logsource: {{product: piperoll, service: catalog}}
detection:
{detection}
level: {level}
tags: [attack.t1530]
"""
ID = "5f113a8f-8b61-41ca-b90f-{:012d}"


def write(folder, *detections, level="high"):
    for number, detection in enumerate(detections):
        indented = "\n".join("  " + line for line in detection.strip("\n").splitlines())
        text = RULE.format(title=f"rule {number}", id=ID.format(number), detection=indented, level=level)
        (folder / f"{number}.yml").write_text(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("title: [", "not YAML"),
        ("title: x\nlogsource: {product: x}\ndetection: {s: {a: 1}, condition: t}", "not defined"),
        ("title: x\nlogsource: {product: x}\ndetection: {s: {a|nope: 1}, condition: s}", "nope"),
        (
            "title: x\nlogsource: {product: x}\ndetection: {s: {a|re: '(?=b)'}, condition: s}",
            "not a Sigma rule",
        ),
        (
            "title: x\nlogsource: {product: x}\ndetection: {s: {a|expand: '%b%'}, condition: s}",
            "placeholder %b%",
        ),
        (
            "title: x\nstatus: deprecated\nlogsource: {product: x}\ndetection: {s: {a: 1}, condition: s}",
            "deprecated",
        ),
        (
            "title: x\ncorrelation: {type: event_count, rules: [a], group-by: [b], timespan: 1h}",
            "condition",
        ),
        ("- 1\n- 2", "not a Sigma rule"),
        ("x", "not a Sigma rule"),
    ],
)
def test_what_cannot_be_used_is_refused_with_file_and_reason_and_the_rest_goes_on(tmp_path, text, reason):
    write(tmp_path, "s: {a: 1}\ncondition: s")
    (tmp_path / "bad.yml").write_text(text)
    (tmp_path / "pack").mkdir()
    rules = load_rules([], tmp_path, pack=tmp_path / "pack")
    assert [rule.hit.title for rule in rules.report.loaded] == ["rule 0"]
    (refused,) = rules.report.refused
    assert refused.file.endswith("bad.yml")
    assert reason in refused.reason


def test_one_bad_document_does_not_spoil_its_file(tmp_path):
    good = RULE.format(title="good", id=ID.format(1), detection="  s: {a: 1}\n  condition: s", level="low")
    (tmp_path / "two.yml").write_text(good + "---\ntitle: bad\n---\n" + good)
    (tmp_path / "pack").mkdir()
    report = load_rules([], tmp_path, pack=tmp_path / "pack").report
    assert [rule.hit.title for rule in report.loaded] == ["good"]
    assert [refused.title for refused in report.refused] == ["bad", "good"]
    assert "already used" in report.refused[1].reason


def test_a_rule_without_events_of_its_log_source_is_dormant_not_refused(tmp_path):
    (tmp_path / "a.yml").write_text(
        "title: x\nlogsource: {product: nobody}\ndetection: {s: {a: 1}, condition: s}"
    )
    report = load_rules([], tmp_path, pack=tmp_path).report
    assert len(report.loaded) == len(report.dormant) == 1


def test_a_missing_folder_stops_the_start(tmp_path):
    with pytest.raises(DocumentError, match="no such folder"):
        load_rules([], tmp_path / "none")


def test_tags_become_area_and_detail():
    assert tag_of("attack.T1530") == "attack:t1530"
    assert tag_of("attack.privilege-escalation") == "attack:privilege-escalation"
    assert tag_of("cve.2021-44228") == "cve:2021-44228"
    assert tag_of("odd") == "rule:odd"


@pytest.mark.data
def test_all_community_rules_load_and_those_for_cloudtrail_fire(shared_data):
    mappings = load_mappings()
    rules = load_rules(mappings.all, shared_data / "sigma" / "rules")
    own = [rule for rule in rules.report.loaded if "/pack/" in rule.file]
    assert not rules.report.refused
    assert len(rules.report.loaded) - len(own) == 348
    fired, trails = set(), 0
    for name in ("cloudtrail", "cloudtrail_rules"):
        for event in read_lines(shared_data / f"{name}.jsonl"):
            if (mapping := mappings.recognise(event.data)) is not None:
                trails += 1
                fired |= {rule.hit.id for rule in rules.match(mapping.log_source, event.data, event)}
    community = fired - {rule.hit.id for rule in own}
    assert trails > 2200
    assert len(community) >= 20
    assert len(fired - community) >= 25


@pytest.mark.data
def test_the_index_hides_no_hit_on_real_events(shared_data):
    """Every community rule, on every real event of its log source, with and without the index."""
    mappings = load_mappings()
    rules = load_rules(mappings.all, shared_data / "sigma" / "rules")
    for mapping in mappings.all:
        fields = Fields.of(mapping)
        alone = [
            (rule.hit.id, compile_conditions(rule.conditions, fields).predicate)
            for rule in rules.report.loaded
            if any(rule.logsource.covers(source) for source in [*mapping.logsources, ANY])
        ]
        for name in ("cloudtrail_rules", "okta", "github", "k8s"):
            for event in read_lines(shared_data / f"{name}.jsonl"):
                found = {rule.hit.id for rule in rules.match(mapping.log_source, event.data, event)}
                assert found == {ident for ident, predicate in alone if predicate(event.data, event)}


def read_lines(file):
    for line in file.read_bytes().splitlines():
        data = msgspec.json.decode(line)
        yield Event("bare", "", "", "", data, data)
