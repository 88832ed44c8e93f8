"""Events are recognised by their shape, and a mapping finds who did what to what, when, from where."""

import json
from collections import defaultdict

import pytest

from schemas.enrichment import Who
from schemas.events import Event
from schemas.mapping import GENERIC, Mapping, MappingForm, load_mappings
from schemas.paths import compile_path, compile_paths, compile_presence

TRAIL = {
    "eventVersion": "1.08",
    "userIdentity": {"type": "IAMUser", "userName": "ann", "accountId": "1"},
    "eventTime": "2026-05-01T12:00:00Z",
    "eventSource": "s3.amazonaws.com",
    "eventName": "DeleteBucket",
    "awsRegion": "eu-west-1",
    "sourceIPAddress": "192.0.2.1",
    "requestParameters": {"Host": "h", "bucketName": "logs"},
    "eventID": "e-1",
    "recipientAccountId": "123456789012",
}


@pytest.fixture(scope="module")
def mappings():
    return load_mappings()


def who(mapping, data):
    return mapping.who(data, Event("bare", "", "", "", data, data))


def test_a_cloudtrail_record_is_recognised_and_mapped(mappings):
    mapping = mappings.recognise(TRAIL)
    assert mapping.log_source == "aws.cloudtrail"
    assert mapping.source(TRAIL) == "cloudtrail/123456789012"
    assert (mapping.id(TRAIL), mapping.event_type(TRAIL)) == ("e-1", "s3.amazonaws.com/DeleteBucket")
    assert mapping.time(TRAIL) == "2026-05-01T12:00:00Z"
    assert who(mapping, TRAIL) == Who("ann", "DeleteBucket", "logs", "192.0.2.1", "success")
    denied = TRAIL | {"errorCode": "AccessDenied", "requestParameters": None}
    assert who(mapping, denied).outcome == "failure: AccessDenied"
    assert who(mapping, denied).resource is None


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("okta.system", {"eventType": "a", "published": "t", "actor": {"alternateId": "x"}}),
        ("github.audit", {"action": "repo.create", "actor": "x", "org": "o"}),
        ("kubernetes.audit", {"apiVersion": "audit.k8s.io/v1", "verb": "get"}),
    ],
)
def test_other_sources_are_recognised(mappings, name, data):
    assert mappings.recognise(data).log_source == name


def test_nothing_is_recognised_in_other_objects(mappings):
    for data in ({}, {"eventName": "x"}, {"a": [{"eventName": 1}]}, {"Records": [TRAIL]}):
        assert mappings.recognise(data) is None


def test_common_names_tell_who_did_what_where_no_mapping_does():
    data = {"user": "ann", "action": "burn", "target": "letters", "ip": "::1", "success": False}
    assert who(GENERIC, data) == Who("ann", "burn", "letters", "::1", "failure")


def test_type_and_subject_stand_in_for_action_and_resource():
    event = Event("structured", "s", "1", "burned", {}, {}, subject="letters")
    assert GENERIC.who({}, event) == Who(None, "burned", "letters")


@pytest.mark.parametrize(
    ("outcome", "data"),
    [
        ("success", {"o": "Succeeded"}),
        ("failure", {"o": "DENIED"}),
        ("odd", {"o": "odd"}),
        ("success", {"o": True}),
        ("success", {"s": 204}),
        ("failure: 403", {"s": 403, "o": "success"}),
        ("failure: 12", {"e": 12, "s": 200}),
        ("assumed", {}),
        ("assumed", {"o": None, "s": 9, "e": ""}),
    ],
)
def test_outcomes_are_brought_to_success_and_failure(outcome, data):
    form = MappingForm(
        name="x",
        recognise=[],
        logsource=[],
        outcome=["o"],
        error=["e"],
        status=["s"],
        default_outcome="assumed",
        summary="",
    )
    assert who(Mapping(form), data).outcome == outcome


@pytest.mark.parametrize(
    ("path", "data", "value"),
    [
        ("a", {"a": 1}, 1),
        ("a.b.c", {"a": {"b": {"c": 1}}}, 1),
        ("a.b", {"a.b": 1}, 1),
        ("a.b.c", {"a": {"b.c": 1}}, 1),
        ("a.b.c", {"a": {"x": 1}, "a.b.c": 2}, 2),
        ("a.b", {"a": [{"b": 1}, {"b": [2, 3]}, {"c": 4}, 5]}, [1, 2, 3]),
        ("a.1", {"a": [1, 2]}, 2),
        ("a.1.b", {"a": [1, {"b": 2}]}, 2),
        ("a.9", {"a": [1]}, None),
        ("a.b", {"a": None}, None),
        ("a.b", {"a": "text"}, None),
        ("a.b", {}, None),
        ("a", {"a": False}, False),
    ],
)
def test_paths_lead_through_objects_lists_and_literal_keys(path, data, value):
    assert compile_path(path)(data) == value
    assert compile_presence(path)(data) == (value is not None)


def test_a_null_is_there_though_it_is_no_value():
    assert compile_presence("a.b")({"a": {"b": None}})
    assert compile_path("a.b")({"a": {"b": None}}) is None


@pytest.mark.parametrize(
    "data",
    [
        {"p": {"c": 3, "b": 2}},
        {"p.b": 2, "p": {}},
        {"p": [{"b": 2}]},
        {"p": {"a": "", "b": 2}},
        {"z": 9, "p": {"b": 2}},
    ],
)
def test_the_first_of_several_paths_counts_however_they_are_grouped(data):
    paths = ["p.a", "p.b", "p.c", "z", "y"]
    one_by_one = next((v for path in paths if (v := compile_path(path)(data)) not in (None, "")), None)
    found = compile_paths(paths)(data)
    assert found == one_by_one if "p.b" not in data else found in (2, None)


REAL = (
    "cloudtrail",
    "cloudtrail_rules",
    "azure",
    "gcp",
    "gworkspace",
    "github",
    "github_webhooks",
    "github_webhook_rules",
    "k8s",
    "okta",
    "ocsf",
    "windows",
    "ai_platform",
    "model_inference",
    "cdevents",
    "saas",
)


@pytest.mark.data
def test_real_events_of_mapped_sources_have_actor_and_action(mappings, shared_data):
    """At least 95 of 100 events of each mapping that have ten fields or more, and 95 of 100 of all: authors of rule
    tests trim some events until nobody is left in them."""
    told, whole = defaultdict(list), []
    for name in REAL:
        for line in (shared_data / f"{name}.jsonl").read_text().splitlines():
            data = json.loads(line)
            if (mapping := mappings.recognise(data)) is None or mapping.within is not None:
                continue
            found = mapping.who(data, Event("bare", "", "", mapping.event_type(data), data, data))
            whole.append(bool(found.actor and found.action))
            if leaves(data) >= 10:
                told[mapping.log_source].append(whole[-1])
    assert len(told) >= 14
    assert {name: said for name, said in told.items() if sum(said) < 0.95 * len(said)} == {}
    assert sum(whole) >= 0.95 * len(whole) > 3500


def leaves(value):
    if isinstance(value, dict):
        return sum(map(leaves, value.values()))
    return max(map(leaves, value), default=0) if isinstance(value, list) else 1


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "share"),
    [("cloudtrail", 1), ("azure", 1), ("gcp", 1), ("windows", 1), ("k8s", 0.95), ("okta", 0.9)],
)
def test_real_events_are_recognised_by_their_shape(mappings, shared_data, name, share):
    events = [json.loads(line) for line in (shared_data / f"{name}.jsonl").read_text().splitlines()]
    assert sum(mappings.recognise(event) is not None for event in events) >= share * len(events)


def test_every_mapping_names_its_discriminators_and_what_an_event_is_called(mappings):
    for mapping in mappings.all:
        assert mapping.within or mapping.discriminators, mapping.log_source
        assert mapping.logsources, mapping.log_source


def test_one_audit_id_stands_for_several_stages_so_the_stage_belongs_to_the_id(mappings):
    data = {"apiVersion": "audit.k8s.io/v1", "auditID": "a-1", "stage": "ResponseStarted", "verb": "watch"}
    assert mappings.recognise(data).id(data) == "a-1/ResponseStarted"
    assert mappings.recognise(data).id({**data, "stage": None}) == ""
