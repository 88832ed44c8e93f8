"""Severity, status and new state are read by the names of keys, whatever the source's paths are."""

import pytest

from services.enricher.rules import circumstances as module
from services.enricher.rules.circumstances import Circumstances, circumstances

SAID = [
    ({"severity": "HIGH"}, Circumstances("high")),
    (
        {"FindingProviderFields": {"Severity": {"Label": "CRITICAL", "Normalized": 90}}},
        Circumstances("critical"),
    ),
    ({"data": {"severity": "e_high"}}, Circumstances("high")),
    ({"event": {"SeverityName": "Medium"}, "status": "new"}, Circumstances("medium")),
    ({"severity": "low", "details": {"severity": "critical"}}, Circumstances("low")),
    ({"items": [{"severity": "low"}, {"severity": "high"}]}, Circumstances("high")),
    ({"issue": {"severity": "LOW", "status": "Resolved"}}, Circumstances("low", "closed")),
    ({"Workflow": {"Status": "SUPPRESSED"}}, Circumstances(None, "closed")),
    ({"RecordState": "ARCHIVED"}, Circumstances(None, "closed")),
    ({"service": {"additionalInfo": {"sample": True}}}, Circumstances(None, "sample")),
    ({"service": {"archived": False}}, Circumstances()),
    ({"details": {"old_value": "on", "new_value": "off"}}, Circumstances(None, None, "off")),
    ({"content": {"after": {"isEnabled": True}}}, Circumstances(None, None, "on")),
    ({"details": {"from": "Private", "to": "Public"}}, Circumstances(None, None, "open")),
    ({"change": "role", "from": "Member", "to": "Owner"}, Circumstances(None, None, "powerful")),
]
NOT_SAID = [
    {"control": {"severity": "HIGH"}, "sourceRule": {"severity": "critical"}},
    {"a": {"b": {"c": {"severity": "high"}}}},
    {"severity": "high " * 100},
    {"severity": 4, "status": None, "enabled": "maybe"},
    {"first": {"enabled": True}, "second": {"enabled": False}},
    {str(number): {"severity": "high"} for number in range(500)},
]


@pytest.mark.parametrize(("data", "said"), SAID, ids=repr)
def test_what_stands_nearest_to_the_top_is_said(data, said):
    assert circumstances(data) == said


@pytest.mark.parametrize("data", NOT_SAID, ids=lambda data: repr(data)[:60])
def test_the_check_behind_an_event_what_is_deep_and_what_contradicts_itself_say_nothing(data):
    assert circumstances(data) == Circumstances()


def test_what_is_remembered_of_keys_is_bounded():
    """A key may be a megabyte, and no two events need have the same."""
    for number in range(2 * module._REMEMBERED):
        circumstances({f"{number}{'x' * 2000}": "high"})
        circumstances({f"key{number}": "high"})
    assert len(module._plans) <= module._REMEMBERED
    assert all(sum(map(len, keys)) <= module._REMEMBERED_LENGTH for keys in module._plans)
    before = module._facts_of_name.cache_info().misses
    circumstances({"z" * (module._NAME_LIMIT + 1): "high"})
    assert module._facts_of_name.cache_info().misses == before
