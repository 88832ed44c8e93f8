"""The catalogue says what an event of a type must tell; a folder of one's own comes over the shipped entries."""

import pytest

from schemas.catalog import CATALOG, load_catalog
from schemas.documents import DocumentError
from schemas.enrichment import Who
from schemas.events import Event


@pytest.fixture(scope="module")
def catalog():
    return load_catalog()


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        ("user_login", ["user_id", "timestamp", "ip_address"]),
        ("data_export", ["user_id", "dataset_id", "export_time", "export_reason"]),
        ("model_inference", ["user_id", "model_version", "input_hash", "output_hash", "timestamp"]),
    ],
)
def test_the_promised_types_need_the_promised_fields(catalog, event, fields):
    assert catalog.missing(event, {}) == fields
    assert catalog.missing(event, dict.fromkeys(fields, 0)) == []
    assert catalog.missing(event, dict.fromkeys(fields)) == fields


def test_an_unknown_type_is_told_apart_from_a_complete_one(catalog):
    assert catalog.missing("no_such_type", {}) is None
    assert catalog.missing("user_logout", "text") == ["user_id", "timestamp"]


def test_what_common_apps_need_is_there(catalog):
    assert len(catalog.entries) >= 30
    assert all(entry.log_source == CATALOG and entry.fields for entry in catalog.entries.values())


def test_every_shipped_sentence_can_be_filled_and_names_the_actor(catalog):
    for entry in catalog.entries.values():
        data = {field: f"v-{field}" for field in entry.fields}
        event = Event("short", "s", "1", entry.event, data, data)
        who = entry.who(data, event)
        text = entry.summary.fill(data, who, event)
        assert text[0].isupper(), text
        assert text.endswith("."), text
        assert "unknown" not in text, text
        assert isinstance(who, Who)


def test_an_own_folder_adds_types_and_replaces_shipped_ones(tmp_path):
    (tmp_path / "own.yaml").write_text(
        "- event: ticket_closed\n  fields: [ticket]\n"
        "- event: user_login\n  fields: [login]\n  summary: '{login} came[ by {door}]'\n"
    )
    catalog = load_catalog(tmp_path)
    assert catalog.missing("ticket_closed", {}) == ["ticket"]
    assert catalog.missing("user_login", {"login": 1}) == []
    assert catalog.version != load_catalog().version


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- event: a\n  feilds: [b]\n", "entry 1 \\(a\\)"),
        ("- event: a\n  fields: b\n", "Expected `array`"),
        ("- event: a\n  fields: []\n- fields: []\n", "entry 2 \\(None\\)"),
        ("- event: a\n  fields: []\n  summary: 'x {y'\n", "brackets do not match"),
        ("- event: a\n  fields: []\n  summary: 'x {@who}'\n", "is not one of @actor"),
        ("- event: a\n  fields: []\n- event: a\n  fields: []\n", "already in"),
        ("- event: ''\n  fields: []\n", "1 to 256 characters"),
        ("a: [", "not YAML"),
    ],
)
def test_a_wrong_entry_is_refused_with_file_and_reason(tmp_path, text, message):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(DocumentError, match=message) as caught:
        load_catalog(tmp_path)
    assert "bad.yaml" in str(caught.value)


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(DocumentError, match="no such folder"):
        load_catalog(tmp_path / "none")
