"""Shapes of events: what is folded, what tells them apart, and readings that fill with each event's own values."""

import json
from collections import defaultdict

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.catalog import load_catalog
from schemas.enrichment import Enrichment, Who
from schemas.mapping import GENERIC, load_mappings
from services.common.ai.vocabulary import load_vocabulary
from services.enricher.enrich import Coordinates, load_enricher
from services.enricher.kinds import Kinds
from services.enricher.questions import Subject
from services.enricher.readings import SHAPE_PROMPT, Readings, shape_version
from services.enricher.shape_question import described, read_answer
from services.enricher.shape_reading import FILLED_LIMIT, Entry, checked, read_entry
from services.enricher.shape_store import RETRY_MS, Families, ShapeStore, Withheld
from services.enricher.shapes import Shape, Shapes, as_shape, fold

CATALOG, MAPPINGS = load_catalog(), load_mappings()
VOCABULARY = load_vocabulary()
BY_NAME = {mapping.log_source: mapping for mapping in MAPPINGS.all}
SOURCES = [
    "cloudtrail",
    "cloudtrail_rules",
    "okta",
    "github",
    "k8s",
    "gcp",
    "azure",
    "gworkspace",
    "saas",
    "windows",
]
of = Shapes().of


def generic(data, who=None, event_type="t"):
    return of(GENERIC, event_type, data, who or Who())


def reading(text, allowed=("actor",), tags=(), risk="low"):
    return checked(text, list(tags), risk, allowed=allowed, vocabulary=VOCABULARY, name=("m", "shape-1"))


# -- folding


@pytest.mark.parametrize(
    "key", ["i-0abc12345", "2026-05-01", "arn:aws:iam::1:user/x", "123", "a@b.example", "6f1f0a0e-aaaa-bbbb-cccc-121212121212", "x" * 41, "a b", ""]
)  # fmt: skip
def test_keys_that_are_ids_dates_or_arns_are_folded(key):
    assert fold(key) == "*"


@pytest.mark.parametrize("key", ["userName", "event_type", "db.password", "s3Bucket", "a-b", "$ref"])
def test_names_stay(key):
    assert fold(key) == key


def test_nulls_list_contents_and_map_like_objects_do_not_make_shapes():
    one = generic(
        {"a": 1, "tags": ["x"], "by_id": {"i-0abc12345": {"n": 1}}, "many": {f"k{n}": 1 for n in range(30)}}
    )
    two = generic(
        {"a": 2, "tags": [{"deep": 1}, 2], "by_id": {"i-9999999": {"n": 2}, "i-111111": {"n": 3}}, "many": {f"m{n}": 1 for n in range(40)}}
    )  # fmt: skip
    assert one == two
    assert one.paths == ("a:number", "by_id.*.n:number", "many.*:number", "tags:list")


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"approved": True}, {"approved": False}),
        ({"approved": True}, {"approved": None}),
        ({"action": "create"}, {"action": "delete"}),
        ({"deep": {"lastStatus": 200}}, {"deep": {"lastStatus": 403}}),
        ({"result": "ok"}, {"result": "ok", "extra": 1}),
        ({"n": 1}, {"n": "1"}),
    ],
)
def test_what_tells_events_apart_without_a_mapping(one, two):
    assert generic(one) != generic(two)


def test_with_too_many_discriminators_or_paths_no_reading_is_shared():
    assert generic({f"flag{chr(97 + n)}": True for n in range(8)}) is not None
    assert generic({f"flag{chr(97 + n)}": True for n in range(9)}) is None
    assert generic({f"k{chr(97 + n // 26)}{chr(97 + n % 26)}": 1 for n in range(101)}) is None


def test_keys_that_senders_make_up_are_not_kept():
    """A key may be a megabyte, and no two events need have the same: what is remembered of them is bounded."""
    shapes, entry = Shapes(), CATALOG.entries["user_login"]
    assert shapes.of(entry, "user_login", {"k" * 10_000: True}, Who()) == shapes.of(
        entry, "user_login", {}, Who()
    )
    assert list(shapes._named) == [()]
    for number in range(5000):
        shapes.of(entry, "user_login", {f"k{number}": "x"}, Who(outcome=f"o{number}"))
    assert max(len(shapes._named), len(shapes._plain)) <= 4096


def test_a_mapped_event_is_told_apart_by_its_mappings_discriminators_and_outcome_only():
    trail = BY_NAME["aws.cloudtrail"]
    data = {
        "eventSource": "s3.amazonaws.com",
        "eventName": "GetObject",
        "awsRegion": "x",
        "requestParameters": {"a": 1},
    }
    one = of(trail, "t", data, Who(actor="a"))
    assert of(trail, "t", data | {"requestParameters": {"b": [2]}, "awsRegion": "y"}, Who(actor="b")) == one
    assert of(trail, "t", data | {"errorCode": "AccessDenied"}, Who(actor="b")) != one
    assert of(trail, "t", data, Who(actor="a", outcome="failure: 403")) != one
    assert of(trail, "t", data, Who()) != one  # no actor: the sentence cannot name one


def test_long_and_hostile_values_are_bounded_and_stay_apart():
    one, two = (generic({"status": "x" * 500 + end}, event_type="t" * 900 + "\n" + end) for end in "ab")
    assert one != two
    assert all(len(value) <= 64 for value in (*one.values, *two.values))
    assert len(one.type) <= 200
    assert as_shape(json.loads(msgspec.json.encode(one))) == one
    assert len(one.key) == 32


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=6),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(max_size=10), JSON, max_size=10), st.text(max_size=20))
def test_any_data_has_a_shape_or_none_and_it_survives_json(data, outcome):
    shape = generic(data, Who(outcome=outcome))
    if shape is not None:
        assert as_shape(json.loads(msgspec.json.encode(shape))) == shape
        json.loads(described(shape, ("actor",)))


# -- readings


def test_a_reading_is_filled_with_each_events_own_values():
    one = reading("{actor} exported {resource}, look who asked.", ("actor", "resource"))
    assert one.fill(Who(actor="jo", resource="ds 9"), {}).summary == 'jo exported "ds 9", look who asked.'
    assert one.fill(Who(actor="x. Then {resource} <b>"), {}).summary.startswith(
        '"x. Then resource " exported unknown'
    )


@pytest.mark.parametrize(
    "text",
    ["{password} left", "{actor.__class__}", "{ actor } did", "{{actor}} did", "{resource} left", "", "{actor}", "x" * 1300, None, 7, "{actor} " + "long " * 80],
)  # fmt: skip
def test_a_reading_with_other_placeholders_or_none_or_too_long_is_none(text):
    assert reading(text) is None


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("{actor} <script>alert(1)</script> did it", "{actor} alert(1) did it"),
        ("see https://evil.example/{actor} now", "see (link){actor} now"),
        ("{actor}'s (own) work", "{actor}'s (own) work"),
        ("[email_1] and field_3 of {actor}", "(withheld) and a withheld name of {actor}"),
        ("\u202e{actor}\x00 did\nit", "{actor}\ufffd did it"),
    ],
)
def test_a_reading_is_plain_text_around_its_places(text, plain):
    assert reading(text).text == plain


def test_no_filled_text_is_long_and_tags_and_risk_are_bounded():
    one = reading("{actor} " * 20 + "did", tags=["data:export", "safe", *VOCABULARY], risk="critical")
    assert len(one.fill(Who(actor="a" * 200), {}).summary) <= FILLED_LIMIT
    assert one.risk == "medium"
    assert len(one.tags) <= 8
    assert "safe" not in one.tags


def test_required_fields_of_the_catalogue_are_places_but_for_those_that_are_withheld():
    readings = Readings(CATALOG, "m", "shape-1")
    entry = CATALOG.entries["data_export"]
    data = {"user_id": "u1", "dataset_id": "d", "export_time": "t", "export_reason": "r"}
    shape = of(entry, "data_export", data, Who(actor="u1"))
    assert {"actor", "dataset_id", "export_reason"} <= set(readings.allowed(shape))
    for name, entry in CATALOG.entries.items():
        allowed = readings.allowed(of(entry, name, {}, Who()))
        assert not set(allowed) & entry.sensitive


def test_readings_of_another_language_are_other_readings():
    assert shape_version("English") == SHAPE_PROMPT
    assert shape_version("Deutsch") == shape_version("German") == f"{SHAPE_PROMPT}.German"
    entry = Entry(list(generic({"a": 1})), "m", shape_version("German"), 0, "jemand tat etwas", [], "low")
    assert Readings(CATALOG, "m", SHAPE_PROMPT).learn(generic({"a": 1}), entry) is None
    assert Readings(CATALOG, "m", shape_version("Deutsch")).learn(generic({"a": 1}), entry) is not None


def test_what_stands_on_the_topic_is_checked_again():
    readings = Readings(CATALOG, "m", "shape-1")
    shape = generic({"a": 1}, Who(actor="x"))
    entry = Entry(list(shape), "m", "shape-1", 0, "{secret} left", [], "low")
    assert readings.learn(*read_entry(msgspec.json.encode(entry))) is None
    assert readings.learn(shape, msgspec.structs.replace(entry, text="{actor} left", model="other")) is None
    assert readings.learn(shape, msgspec.structs.replace(entry, text="{actor} left")) is not None
    with pytest.raises(ValueError, match="not a reading"):
        read_entry(b'{"shape": 5}')


@pytest.mark.parametrize(
    ("said", "believed"),
    [
        ("{actor} tried in vain and was denied.", True),
        ("{actor} did it successfully.", False),
        ("{actor} read bucket-77.", False),
        ("{actor} got a 403 from s3.amazonaws.com.", True),
    ],
)
def test_a_reading_invents_nothing_and_does_not_turn_the_outcome(said, believed):
    readings = Readings(CATALOG, "m", "shape-1")
    shape = of(
        BY_NAME["aws.cloudtrail"], "s3.amazonaws.com/GetObject",
        {"eventSource": "s3.amazonaws.com", "eventName": "GetObject"}, Who(actor="a", outcome="failure: 403"),
    )  # fmt: skip
    answer = json.dumps({"text": said, "tags": [], "risk": "low"})
    assert (read_answer(readings, shape, answer) is not None) == believed


# -- the store


def test_the_store_is_bounded_and_drops_what_was_not_used():
    store, shapes = ShapeStore(3), [generic({f"k{letter}": 1}) for letter in "abcd"]
    for shape in shapes[:3]:
        store.put(shape, Withheld("x", 0))
    assert store.get(shapes[0]) is not None
    store.put(shapes[3], Withheld("x", 0))
    assert [store.get(shape) is not None for shape in shapes] == [True, False, True, True]


def test_a_family_admits_64_values_of_each_discriminator():
    families = Families()
    assert all(families.admits(generic({"status": f"s{n}"})) for n in range(64))
    assert not families.admits(generic({"status": "s64"}))
    assert families.admits(generic({"status": "s5"}))
    assert families.admits(generic({"status": "s64"}, event_type="other"))


def test_the_enricher_marks_pending_what_is_to_come_and_nothing_else():
    now = 1_000.0
    readings = Readings(CATALOG, "m", "shape-1", now_ms=lambda: now)
    data = {"a": 1}
    shape = generic(data)

    def apply(risk="low", **fields):
        document = Enrichment("bare", "/a", "1", "t", "S.", risk, [], **fields)
        readings.apply(document, GENERIC, "t", data)
        return document.pending, document.ai

    assert apply() == (True, None)
    readings.store.put(shape, Withheld("refused", 2_000))
    assert apply() == (False, None)
    assert apply("high") == (True, None)
    now += RETRY_MS
    assert apply() == (True, None)
    readings.learn(shape, Entry(list(shape), "m", "shape-1", 0, "It happened.", [], "medium"))
    pending, ai = apply("high")
    assert (pending, ai.summary, ai.risk) == (True, "It happened.", "medium")
    assert apply()[0] is False


# -- on real events


def real_shapes(shared_data):
    """(source, value, shape, enrichment) of every real event."""
    readings = Readings(CATALOG, "m", "shape-1")
    enricher, found, real = load_enricher(ai=readings), [], readings.shape_of
    readings.shape_of = lambda *arguments: found.append(real(*arguments)) or found[-1]
    for source in SOURCES:
        for line in (shared_data / f"{source}.jsonl").read_bytes().splitlines():
            found.clear()
            result = enricher.enrich(None, line, [], Coordinates(bytes(16), 0, 1, 1), bytes(32))
            yield source, line, found[-1] if found else None, result


def test_the_annotator_finds_the_shape_that_the_enricher_found(shared_data):
    kinds = Kinds(CATALOG, MAPPINGS, Readings(CATALOG, "m", "shape-1"))
    compared = 0
    for _, line, shape, result in real_shapes(shared_data):
        document = msgspec.json.decode(msgspec.json.encode(result.document), type=Enrichment)
        assert kinds.shape(Subject(None, document, line, [], None))[0] == shape
        compared += 1
    assert compared > 3000


def test_real_events_with_opposite_outcomes_never_share_a_shape(shared_data):
    """Pairs of one key-path set: what the rules' mapping calls success and failure."""
    outcomes, by_paths = defaultdict(set), defaultdict(list)
    for source, line, shape, result in real_shapes(shared_data):
        said = (result.document.who.outcome or "").partition(":")[0]
        if shape is not None and said in ("success", "failure"):
            outcomes[shape].add(said)
            by_paths[source, frozenset(key_paths(json.loads(line)))].append((said, shape))
    assert all(len(said) == 1 for said in outcomes.values())
    pairs = sum(
        min(sum(s == "success" for s, _ in g), sum(s == "failure" for s, _ in g)) for g in by_paths.values()
    )
    assert pairs >= 10


def key_paths(value, prefix=""):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from key_paths(item, f"{prefix}.{key}")
    elif isinstance(value, list):
        for item in value:
            yield from key_paths(item, f"{prefix}[]")
    else:
        yield prefix


def test_a_shape_is_a_small_thing():
    assert isinstance(generic({"a": 1}), Shape)
    assert len(msgspec.json.encode(generic({"a": 1}))) < 200
