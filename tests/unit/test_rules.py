"""Compiled rules behave as the Sigma specification says."""

import re
from pathlib import Path

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st
from sigma.modifiers import modifier_mapping

from schemas.events import Event
from schemas.mapping import load_mappings
from services.enricher.rules.compile import compile_conditions
from services.enricher.rules.fields import Fields
from services.enricher.rules.index import by_risk, load_rules
from services.enricher.rules.literals import required_literal
from services.enricher.rules.values import search
from services.enricher.rules.words import words_of

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


@pytest.fixture
def compiled(tmp_path):
    """A function that makes a rule set of some detections."""

    def make(*detections, **options):
        empty = tmp_path / "pack"
        folder = tmp_path / "rules"
        empty.mkdir(exist_ok=True)
        folder.mkdir(exist_ok=True)
        write(folder, *detections, **options)
        return load_rules([], folder, pack=empty)

    return make


def titles(rules, data, source="catalog", **attributes):
    event = Event("structured", "/s", "1", attributes.pop("type", "t"), data, data, attributes=attributes)
    return {rule.hit.title for rule in rules.match(source, data if isinstance(data, dict) else {}, event)}


def test_what_is_remembered_of_an_events_keys_holds_for_those_keys_only(compiled):
    """Rules under one text are looked at where the data has their keys, in whatever order its events come."""
    detections = (
        "s: {ce.type: t, a|contains: x}",
        "s: {ce.type: t, b: null}",
        "s: {ce.type: t, b|exists: true}",
    )
    rules = compiled(*(f"{detection}\ncondition: s" for detection in detections))
    assert len(rules.report.loaded) == 3
    for _ in range(2):
        for data, found in [
            ({"a": "x"}, 2),
            ({"b": "x"}, 1),
            ({"a": "x", "b": 1}, 2),
            ({}, 1),
            ({"b": None}, 2),
        ]:
            assert (
                len(rules.match("catalog", data, Event("structured", "/s", "1", "t", data, data))) == found
            ), data


@pytest.mark.parametrize(
    ("detection", "hits", "misses"),
    [
        (
            "s: {a: x}",
            [{"a": "x"}, {"a": "X"}, {"a": ["y", "x"]}],
            [{"a": "xy"}, {"a": None}, {}, {"a": {"x": 1}}],
        ),
        ("s: {a: [x, y]}", [{"a": "Y"}, {"a": ["z", "y"]}], [{"a": "z"}, {"a": []}]),
        ("s: {a: 5}", [{"a": 5}, {"a": "5"}, {"a": 5.0}, {"a": [4, 5]}], [{"a": 50}, {"a": True}]),
        ("s: {a: 1.5}", [{"a": 1.5}, {"a": "1.5"}], [{"a": 1}]),
        ("s: {a: true}", [{"a": True}, {"a": "True"}, {"a": "true"}], [{"a": 1}, {"a": False}]),
        ("s: {a: 'true'}", [{"a": True}], [{"a": 1}]),
        ("s: {a: ''}", [{"a": ""}], [{"a": "x"}, {}]),
        ("s: {a: null}", [{}, {"a": None}], [{"a": ""}, {"a": 0}, {"a": []}]),
        ("s: {a: [null, x]}", [{}, {"a": "x"}], [{"a": "y"}]),
        ("s: {a.b: null}", [{}, {"a": {"b": None}}, {"a": 1}], [{"a": {"b": 1}}]),
        ("s: {a|exists: true}", [{"a": None}, {"a": 1}], [{}]),
        ("s: {a|exists: false}", [{}], [{"a": None}]),
        ("s: {a.b|exists: true}", [{"a": {"b": None}}, {"a.b": 1}], [{"a": {}}]),
        ("s: {a: 'x*'}", [{"a": "Xyz"}, {"a": "x"}], [{"a": "yx"}]),
        ("s: {a: '*x'}", [{"a": "yX"}], [{"a": "xy"}]),
        ("s: {a: '*x*'}", [{"a": "yxy"}], [{"a": "y"}]),
        ("s: {a: 'x*z'}", [{"a": "xyZ"}, {"a": "xz"}, {"a": "x\nz"}], [{"a": "xzy"}]),
        ("s: {a: 'x?z'}", [{"a": "xyz"}], [{"a": "xz"}, {"a": "xyyz"}]),
        ("s: {a: '?'}", [{"a": "x"}], [{"a": ""}, {"a": "xy"}]),
        ("s: {a: '*'}", [{"a": ""}, {"a": 0}, {"a": {}}], [{}, {"a": None}]),
        (r"s: {a: 'x\*'}", [{"a": "x*"}], [{"a": "xy"}]),
        (r"s: {a: 'x\\*'}", [{"a": "x\\yz"}], [{"a": "x*"}]),
        (r"s: {a: 'C:\Temp\x'}", [{"a": "c:\\temp\\X"}], [{"a": "C:Tempx"}]),
        ("s: {a: 'x.[(y*z'}", [{"a": "X.[(y1z"}], [{"a": "xa[(yz"}]),
        ("s: {a|contains: [b, c]}", [{"a": "xBx"}, {"a": ["z", "c"]}, {"a": {"k": "b"}}], [{"a": "d"}]),
        ("s: {a|contains|all: [b, c]}", [{"a": "cxb"}], [{"a": "b"}]),
        ("s: {a|startswith: [b, c]}", [{"a": "Cx"}], [{"a": "xb"}]),
        ("s: {a|endswith: b}", [{"a": "xB"}], [{"a": "bx"}]),
        ("s: {a|cased: Ab}", [{"a": "Ab"}], [{"a": "ab"}, {"a": "AB"}]),
        ("s: {a|contains|cased: Ab}", [{"a": "xAbx"}], [{"a": "xabx"}]),
        ("s: {a|re: 'b[0-9]+$'}", [{"a": "ab12"}], [{"a": "AB12"}, {"a": "b1x"}, {"a": "B1"}]),
        ("s: {a|re|i: 'b[0-9]'}", [{"a": "B1"}, {"a": ["x", "b2"]}], [{"a": "b"}]),
        ("s: {a|re|m|s: '^b.c$'}", [{"a": "x\nb\nc"}], [{"a": "xbxc"}]),
        (
            "s: {a|cidr: 10.0.0.0/8}",
            [{"a": "10.1.2.3"}, {"a": ["x", "10.0.0.1"]}],
            [{"a": "11.0.0.1"}, {"a": "x"}, {"a": "::1"}],
        ),
        ("s: {a|cidr: '2001:db8::/32'}", [{"a": "2001:DB8::1"}], [{"a": "2001:db9::1"}, {"a": "10.0.0.1"}]),
        (
            "s: {a|gt: 5}",
            [{"a": 6}, {"a": "5.5"}, {"a": [1, 9]}],
            [{"a": 5}, {"a": "x"}, {}, {"a": True}, {"a": None}],
        ),
        ("s: {a|gte: 5, a|lt: 7}", [{"a": 5}, {"a": 6.9}], [{"a": 7}, {"a": 4}]),
        ("s: {a|lte: -1}", [{"a": -1}, {"a": "-2"}], [{"a": 0}, {"a": float("nan")}]),
        ("s: {a|neq: x}", [{"a": "y"}, {}], [{"a": "X"}]),
        (
            "s: {a|fieldref: b}",
            [{"a": "X", "b": "x"}, {"a": 1, "b": "1"}],
            [{"a": "x"}, {"a": "x", "b": "xy"}, {}],
        ),
        ("s: {a|fieldref|startswith: b}", [{"a": "xy", "b": "X"}], [{"a": "x", "b": "xy"}]),
        ("s: {a|base64: foo}", [{"a": "Zm9v"}], [{"a": "foo"}]),
        (
            "s: {a|base64offset|contains: foobar}",
            [{"a": "xxZm9vYmFyxx"}, {"a": "yZvb2Jhc"}],
            [{"a": "foobar"}],
        ),
        ("s: {a|windash|contains: ' -f '}", [{"a": "x /f y"}, {"a": "x -f y"}], [{"a": "x f y"}]),
        ("s: {a|hour: 3}", [{"a": "2026-01-01T05:00:00+02:00"}], [{"a": "2026-01-01T05:00:00Z"}, {"a": "x"}]),
        ("s: {a|week: 1}", [{"a": "2026-01-01T00:00:00Z"}], [{"a": "2026-02-01T00:00:00Z"}]),
        ("s: {a|minute: 30}", [{"a": "2026-05-02T05:30:59Z"}], [{"a": "2026-05-02T05:31:00Z"}, {}]),
        ("s: {a|day: 2}", [{"a": "2026-05-02T05:30:59Z"}], [{"a": "2026-05-01T05:30:59Z"}]),
        ("s: {a|month: 5}", [{"a": "2026-05-02"}], [{"a": "2026-06-02T00:00:00Z"}]),
        ("s: {a|year: 2026}", [{"a": "2026-05-02T05:30:59Z"}], [{"a": "2025-12-31T23:59:59Z"}]),
        ("s: {a|wide|base64: foo}", [{"a": "ZgBvAG8A"}], [{"a": "Zm9v"}]),
        ("s: {a|utf16be|base64: foo}", [{"a": "AGYAbwBv"}], [{"a": "ZgBvAG8A"}]),
        ("s: {a|utf16|base64: foo}", [{"a": "//5mAG8AbwA="}], [{"a": "ZgBvAG8A"}]),
        ("s: {a|re|ignorecase: b+}", [{"a": "xBB"}], [{"a": "x"}]),
        ("s: {a|re|multiline: '^b$'}", [{"a": "x\nb"}], [{"a": "xb"}]),
        ("s: {a|re|dotall: 'x.y'}", [{"a": "x\ny"}], [{"a": "xy"}]),
        ("s: {a|cased|startswith: Ab}", [{"a": "Abc"}], [{"a": "abc"}]),
        ("s: {a|cased|endswith: Ab}", [{"a": "xAb"}], [{"a": "xab"}]),
        ("s: {a|cased: 'A*b'}", [{"a": "Axb"}], [{"a": "axb"}, {"a": "AxB"}]),
        ("s: {a|contains|all|cased: [Ab, Cd]}", [{"a": "xAbCd"}], [{"a": "abCd"}]),
        ("s: {a|fieldref|endswith: b}", [{"a": "xy", "b": "Y"}], [{"a": "yx", "b": "y"}]),
        (
            "s: {a|cidr: [10.0.0.0/8, 'fe80::/10']}",
            [{"a": "10.9.9.9"}, {"a": "fe80::1"}],
            [{"a": "11.0.0.1"}],
        ),
        ("s: {a|contains: 'b?d'}", [{"a": "xbcdx"}], [{"a": "bd"}]),
        ("s: {a: -5}", [{"a": -5}, {"a": "-5"}], [{"a": 5}]),
        ("s: {a: 'ünïcode'}", [{"a": "ÜNÏCODE"}], [{"a": "unicode"}]),
        ("s: {'|all': ['f?o', bar]}", [{"k": "fxo bar"}], [{"k": "fo bar"}]),
        ("s: ['|', '4*2']", [{"k": "a|b"}, {"k": 402}], [{"k": 4}]),
        (
            "s: {a.b.c: x}",
            [{"a": {"b": {"c": "x"}}}, {"a.b.c": "x"}, {"a": [{"b": [{"c": "X"}]}]}],
            [{"a": {"b": "x"}}],
        ),
        ("s: {a|all: [x, y]}", [{"a": ["X", "y", "z"]}], [{"a": ["x"]}, {"a": "x"}, {}]),
        ("s: [{a: x}, {b: y}]", [{"a": "x"}, {"b": "y"}], [{"a": "y"}]),
        ("s: [foo, 'b*r']", [{"k": "xFOOx"}, {"k": {"l": ["baar"]}}, {"foo": 1}], [{"k": "fo"}, {}]),
        ("s: {'|all': [foo, bar]}", [{"k": "foo", "l": "bar"}], [{"k": "foo"}]),
        ("s: [4711]", [{"k": 4711}, {"k": ["x47110"]}], [{"k": 471}]),
    ],
)
def test_each_construct_matches_what_the_specification_says(compiled, detection, hits, misses):
    rules = compiled(detection + "\ncondition: s")
    assert not rules.report.refused
    for data in hits:
        assert titles(rules, data) == {"rule 0"}, data
    for data in misses:
        assert titles(rules, data) == set(), data


def test_every_modifier_that_pysigma_knows_is_tried_here():
    tried = Path(__file__).read_text()
    missing = [name for name in modifier_mapping if not re.search(rf"\|{name}\b", tried)]
    assert missing == ["expand"]  # placeholders have no values here: refused by name, see test_rules_load


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("a and b", {3, 7}),
        ("a or b", {1, 2, 3, 5, 6, 7}),
        ("a and not b", {1, 5}),
        ("not (a or b)", {0, 4}),
        ("1 of them", {1, 2, 3, 4, 5, 6, 7}),
        ("all of them", {7}),
        ("1 of a* or c_x", {1, 3, 4, 5, 6, 7}),
        ("a and 1 of c_*", {5, 7}),
        ("not 1 of c_*", {0, 1, 2, 3}),
        ("not not a", {1, 3, 5, 7}),
    ],
)
def test_conditions_combine_as_they_read(compiled, condition, expected):
    rules = compiled(f"a: {{x: 1}}\nb: {{y: 1}}\nc_x: {{z: 1}}\ncondition: {condition}")
    events = [{"x": bits & 1, "y": bits >> 1 & 1, "z": bits >> 2 & 1} for bits in range(8)]
    assert {bits for bits, data in enumerate(events) if titles(rules, data)} == expected


def test_several_conditions_are_alternatives(compiled):
    rules = compiled("a: {x: 1}\nb: {y: 1}\ncondition: [a, b]")
    assert titles(rules, {"x": 1}) == titles(rules, {"y": 1}) == {"rule 0"}


def test_attributes_of_the_event_are_fields_too(compiled):
    rules = compiled(
        "s: {ce.type: t, ce.source: /s}\ncondition: s",
        "s: {ce.tenant: x}\ncondition: s",
        "s: {ce.none|exists: true}\ncondition: s",
    )
    assert titles(rules, {}, tenant="X") == {"rule 0", "rule 1"}
    assert titles(rules, {}, type="u") == set()


def test_keywords_look_into_data_that_is_no_object(compiled):
    rules = compiled("s: [needle]\ncondition: s")
    for data in ("a Needle", b"raw needle", ["x", {"y": "needle"}]):
        assert titles(rules, data) == {"rule 0"}
    assert titles(rules, "hay") == set()


def test_an_event_meets_only_rules_that_its_log_source_and_index_allow(compiled):
    rules = compiled("s: {ce.type: t, a: 1}\ncondition: s", "s: {ce.type: [u, v], a: 1}\ncondition: s")
    (table,) = rules._indexes["catalog"].by_field
    assert {text: len(found) for text, found in table.rules.items()} == {"t": 1, "u": 1, "v": 1}
    assert titles(rules, {"a": 1}, source="unknown") == set()


@given(
    st.dictionaries(
        st.sampled_from("abc"), st.none() | st.sampled_from(["x", "Y", 1, True, ["x", 2], {"k": "x"}])
    ),
    st.sampled_from("xyz"),
)
def test_the_index_never_hides_a_hit(indexed, data, kind):
    rules, predicates = indexed
    event = Event("structured", "/s", "1", kind, data, data)
    alone = {rule.title for rule, predicate in predicates if predicate(data, event)}
    assert titles(rules, data, type=kind) == alone


@pytest.fixture(scope="module")
def indexed(tmp_path_factory):
    """Rules with their index, and the same rules each compiled without one."""
    folder = tmp_path_factory.mktemp("rules")
    (folder / "pack").mkdir()
    (folder / "own").mkdir()
    write(
        folder / "own",
        "s: {a: x}\ncondition: s",
        "s: {a: [x, 1]}\nf: {b: y}\ncondition: s and not f",
        "s: {ce.type: x, a|contains: x}\ncondition: s",
        "s: {ce.type: [x, y]}\nt: {a: true}\ncondition: s or t",
        "s: {a|cased: x}\ncondition: s",
        "s: {c: null}\ncondition: not s",
        "s: {b: 'y*'}\nt: {b: y}\ncondition: s and t",
        "s: {ce.type: x}\nt: {ce.type: [x, y]}\ncondition: s and not t",
    )
    rules = load_rules([], folder / "own", pack=folder / "pack")
    return rules, [
        (rule.hit, compile_conditions(rule.conditions, Fields({})).predicate) for rule in rules.report.loaded
    ]


def test_the_highest_level_comes_first(compiled):
    rules = compiled("s: {a: 1}\ncondition: s", level="low")
    more = compiled("s: {a: 1}\ncondition: s", "s: {a: 1}\ncondition: s", level="critical")
    event = Event("bare", "", "", "", {"a": 1}, {})
    hits = rules.match("catalog", {"a": 1}, event) + more.match("catalog", {"a": 1}, event)
    assert [rule.hit.level for rule in by_risk(hits)] == ["critical", "critical", "low"]


def test_a_rule_cannot_bring_in_code(compiled):
    hostile = "__import__('os').system('echo')"
    rules = compiled(
        f's: {{"{hostile}": "{hostile}", "b\'}})": "c\\\\"}}\ncondition: s',
        "s: {'x\"y.z{0}': '{1}'}\ncondition: s",
    )
    assert titles(rules, {hostile: hostile, "b'})": "c\\"}) == {"rule 0"}
    assert titles(rules, {'x"y': {"z{0}": "{1}"}}) == {"rule 1"}


def test_a_hostile_text_cannot_stall_a_regular_expression():
    """(a+)+$ takes Python's own engine longer than the age of the universe on this."""
    assert not search("^(a+)+$")("a" * 200_000 + "b")


@pytest.mark.parametrize("text", ["\ud800", "a\0b", "b\udfff1"])
def test_no_text_makes_a_test_fail(text):
    search("b[0-9]")(text)


@pytest.mark.parametrize(
    ("pattern", "literal"),
    [
        (".+:assumed-role/aws:.+", ":assumed-role/aws:"),
        (r"\d+foo\.bar", "foo.bar"),
        ("abc?d", "ab"),
        ("ab+c", "ab"),
        ("(abc)?de", "de"),
        ("[abc]def{2}ghi", "ghi"),
        ("[]a]b", "b"),
        ("abc|def", ""),
        ("(?i)abc", ""),
        (r"\x41bc", ""),
        (r"\pLbc", ""),
        ("", ""),
    ],
)
def test_a_literal_is_looked_for_first_where_every_match_has_it(pattern, literal):
    assert required_literal(pattern) == literal


@given(st.text("ab.*+?()[]^$\\{}1|", max_size=12), st.text("ab.1", max_size=8))
def test_the_literal_never_changes_what_matches(pattern, text):
    options = re2.Options()
    options.log_errors = False
    try:
        plain = re2.compile(pattern, options)
    except re2.error:
        return
    assert search(pattern)(text) == (plain.search(text) is not None)


def test_what_is_remembered_of_events_is_bounded():
    """Senders choose keys and texts: neither many nor long ones fill the memory."""
    rules = load_rules(load_mappings().all)
    table = max(rules._indexes["unknown"].by_field, key=lambda table: len(table.rules))
    for number in range(5000):
        data = {"action": f"delete log{number}", f"key{number}": 1}
        rules.match("unknown", data, Event("bare", "", "", "x", data, data))
    letters, cloudtrail = "createuser", rules._indexes["aws.cloudtrail"]
    for keys in range(300):
        for bits in range(256):
            name = "".join(letter.upper() if bits >> at & 1 else letter for at, letter in enumerate(letters))
            data = {"eventName": name, f"key{keys}": 1}
            rules.match("aws.cloudtrail", data, Event("bare", "", "", "x", data, data))
    assert 0 < sum(len(each[3]) for plan in cloudtrail.plans.values() for each in plan.tables) <= 50_000
    long = {"action": "delete " + "x" * 1_000_000, "k" * 100_000: 1}
    rules.match("unknown", long, Event("bare", "", "", "x" * 1_000_000, long, long))
    assert len(table.several) <= 2048
    assert len(rules._indexes["unknown"].plans) <= 2048
    kept = [key for keys in (table.several, rules._indexes["unknown"].plans) for key in keys]
    assert max(sum(map(len, key)) for key in kept) <= 1000
    assert words_of.cache_info().currsize <= 4096


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("DeactivateMFADevice", ["deactivate", "mfa", "device"]),
        ("user.mfa.factor.deactivate", ["user", "mfa", "factor", "deactivate"]),
        ("UpdateFunctionCode20150331v2", ["update", "function", "code", "20150331v", "2"]),
        ("io.k8s.core.v1.pods.create", ["io", "k8s", "core", "v1", "pods", "create"]),
        ("2FA turned off for S3, EC2", ["2fa", "turned", "off", "for", "s", "3", "ec", "2"]),
        ("", []),
    ],
)
def test_the_words_of_what_was_done(text, words):
    assert list(words_of(text)) == words
