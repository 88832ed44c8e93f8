"""Whatever stands on the topic is read: CloudEvents, the short form, bare JSON; the rest is poison with a reason."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import (
    TAG_DUPLICATE_KEY,
    TAG_INVALID_CLOUDEVENT,
    TAG_NAN,
    TAG_SURROGATE,
    PoisonError,
    is_json,
    is_reserved,
    parse_json,
    parse_time,
    read_json,
    read_judged,
    read_message,
)

ATTRIBUTES = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def read(value, headers=()):
    return read_message(
        value if value is None or isinstance(value, bytes) else json.dumps(value).encode(), headers
    )


def test_a_structured_cloudevent_gives_attributes_and_data():
    event = read(
        ATTRIBUTES | {"subject": "x", "time": "2026-01-01T00:00:00Z", "sequence": "7", "data": {"a": 1}}
    )
    assert (event.form, event.source, event.id, event.type) == ("structured", "/s", "1", "t")
    assert (event.subject, event.time, event.sequence, event.data) == (
        "x",
        "2026-01-01T00:00:00Z",
        "7",
        {"a": 1},
    )


OPTIONAL = (
    "subject",
    "time",
    "datacontenttype",
    "sequence",
    "partitionkey",
    "backfill",
    "data_base64",
    "mine",
)


@given(
    st.fixed_dictionaries(
        {"specversion": st.sampled_from(["1.0", "", 1])},
        optional={name: st.sampled_from(["x", "", None, 5]) for name in (*ATTRIBUTES, *OPTIONAL) if name != "specversion"}
        | {"data": JSON},
    ),
    st.sampled_from([(",", ":"), (", ", ": ")]),
    st.sampled_from(["", ',"id":"2"', ',"data":{"a":1,"a":2}', ',"data":' + "[" * 101 + "]" * 101, ',"data":NaN']),
)  # fmt: skip
def test_what_is_read_the_short_way_is_what_the_general_reading_says(members, separators, more):
    members = ATTRIBUTES | members
    value = json.dumps(members, separators=separators)[:-1].encode("utf-8", "replace") + more.encode() + b"}"
    tags: list[str] = []
    try:
        general = read_json(parse_json(value, tags), tags)
    except PoisonError as error:
        with pytest.raises(PoisonError, match=str(error)):
            read_judged(value, ())
        return
    event = read_judged(value, ())
    for name in ("form", "source", "id", "type", "subject", "time", "sequence", "content_type"):
        assert getattr(event, name) == getattr(general, name)
    assert event.tags == general.tags
    assert repr(event.data) == repr(general.data)  # NaN is not equal to itself
    for name in (*ATTRIBUTES, *OPTIONAL, "nothing", "get", "__class__"):
        assert event.attributes.get(name) == general.attributes.get(name)


def test_a_binary_cloudevent_has_its_attributes_in_headers():
    headers = [(f"ce_{name}", text.encode()) for name, text in ATTRIBUTES.items()]
    event = read(b'{"a":1}', [*headers, ("content-type", b"application/json"), ("other", None)])
    assert (event.form, event.id, event.data, event.content_type) == (
        "binary",
        "1",
        {"a": 1},
        "application/json",
    )


@pytest.mark.parametrize("value", [b"\xff\xfe", None, b""])
def test_a_binary_cloudevent_may_hold_anything(value):
    headers = [(f"ce_{name}", text.encode()) for name, text in ATTRIBUTES.items()]
    assert read(value, [*headers, ("content-type", b"image/png")]).data == value
    assert read(value, headers).data == value  # said to be JSON, and is not: tagged, not lost


def test_the_short_form_may_name_source_and_id():
    event = read({"event_type": "user_login", "event_data": {"user_id": 1}, "id": "i", "source": "s"})
    assert (event.form, event.type, event.source, event.id) == ("short", "user_login", "s", "i")
    assert read({"event_type": "t", "event_data": None}).source == ""


@pytest.mark.parametrize("value", [{}, {"a": 1}, [], [1], 1, "x", None, {"event_type": 5, "event_data": 1}])
def test_any_other_json_is_taken_whole(value):
    event = read(value if value is not None else b"null")
    assert (event.form, event.data, event.source) == ("bare", value, "")


def test_a_cloudevent_without_its_attributes_is_bare_and_tagged():
    assert read({"specversion": "1.0", "id": "", "source": "/s", "type": "t"}).tags == [
        TAG_INVALID_CLOUDEVENT
    ]


@pytest.mark.parametrize("value", [None, b"", b"\xff", b"{", b"nope", b'"\xed\xa0\x80"'])
def test_what_is_no_json_is_poison(value):
    with pytest.raises(PoisonError):
        read(value)


def test_nesting_is_limited_to_a_hundred_levels():
    deep = b'{"a":' * 50 + b"[" * 50 + b"]" * 50 + b"}" * 50
    assert read(deep).form == "bare"
    for value in (b"[" + deep + b"]", b"[" * 101 + b"]" * 101, b"[" * 200_000, b'{"a":' * 200_000):
        with pytest.raises(PoisonError, match="nested deeper than 100 levels"):
            read(value)


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        (b'{"a":NaN}', TAG_NAN),
        (b"[-Infinity]", TAG_NAN),
        (b'{"a":"\\ud800"}', TAG_SURROGATE),
        (b'{"\\udfff":1}', TAG_SURROGATE),
    ],
)
def test_what_is_odd_is_let_through_and_tagged(value, tag):
    assert read(value).tags == [tag]


@pytest.mark.parametrize(
    "value",
    [
        b'{"a":1,"a":2}',
        b'{"a":1,"a" :2}',
        b'{"a" : 1, "a"\n: 2}',
        b'{"a":1,"a":"\\u003a"}',
        b'{"a":1,"\\u0061":"\\u003A"}',
        b'{"a":{"b":1,"b":[]}}',
        b'[{"a":":"},{"x":1,"x":1}]',
        b'{"a":1,"a":' + b"9" * 40 + b"}",
        b'{"a":1,"a":"\\ud800"}',
    ],
)
def test_a_key_that_stands_twice_is_found_however_it_is_written(value):
    assert TAG_DUPLICATE_KEY in read(value).tags


@given(JSON, st.sampled_from([None, 2]), st.booleans())
def test_no_key_is_called_repeated_that_is_not(value, indent, ascii_only):
    tags: list[str] = []
    parse_json(json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "replace"), tags)
    assert TAG_DUPLICATE_KEY not in tags


def test_a_number_of_many_digits_is_read():
    assert read(b"9" * 4000).data == int("9" * 4000)
    assert read(b"9" * 100_000).data == float("inf")


@pytest.mark.parametrize(
    ("text", "micros", "zoned"),
    [
        ("1970-01-01T00:00:00Z", 0, True),
        ("1970-01-01T01:00:00.000001+01:00", 1, True),
        ("2026-05-01T12:00:00", 1777636800000000, False),
        ("2026-05-01 12:00:00.123456789", 1777636800123456, False),
    ],
)
def test_times_are_read_to_the_microsecond(text, micros, zoned):
    assert parse_time(text) == (micros, zoned)


@pytest.mark.parametrize("source", ["piperoll/", "piperoll/writer", "piperoll"])
def test_our_own_sources_are_reserved(source):
    assert is_reserved(source)
    assert not is_reserved("piperoller/" + source)


def test_json_media_types_are_known_by_their_suffix():
    assert is_json("application/vnd.x+json; charset=utf-8")
    assert is_json(None)
    assert not is_json("text/plain")


@pytest.mark.data
def test_jsontestsuite_accepts_what_must_be_and_refuses_what_must_not(shared_data):
    """Files that must parse do; of those that must not, only NaN and Infinity are let through, tagged."""
    for file in sorted((shared_data / "json-test-suite").glob("*.json")):
        value = file.read_bytes()
        try:
            event = read_message(value, [])
        except PoisonError:
            assert not file.name.startswith("y_"), file.name
        else:
            assert not file.name.startswith("n_") or TAG_NAN in event.tags, file.name
