"""JSON read strictly: what readers take differently is refused, and the place of a mistake is told."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.strict_json import BadJsonError, member_bytes, strict_json


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        (b"", 1, 1),
        (b'{"a":', 1, 6),
        (b'{"a":1}\n\n  x', 3, 3),
        (b'{"a":\n  NaN}', 2, 3),
        (b'{"NaN":"Infinity",\n"b":[-Infinity]}', 2, 6),
        (b'"\xc3\xa4\xff"', 1, 3),
        (b'{\n"\xff":1}', 2, 2),
        (b"\xef\xbb\xbf{}", 1, 1),
        (b"\xff\xfe{\x00}\x00", 1, 1),
        (b'"a\nb"', 1, 3),
        (b"{'a':1}", 1, 2),
        (b"01", 1, 2),
    ],
)
def test_the_place_of_a_mistake_is_told(text, line, column):
    with pytest.raises(BadJsonError) as caught:
        strict_json(text)
    assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":1}',
        b'{"a" :1,"a":2}',
        b'{"a"\t:1,"a"\n:2}',
        b'{"a":1,"\\u0061":2}',
        b'{"x":[{"a":1,"a":2}]}',
        b'{"a":":","a":"\\":"}',
        b'{"a\\u003a":1,"b":2,"b":3}',
        b'{"a":1e999,"b":"\\ud800","a":2}',
    ],
)
def test_a_key_that_stands_twice_is_refused_however_it_is_written(text):
    with pytest.raises(BadJsonError, match="stands twice"):
        strict_json(text)


@pytest.mark.parametrize(
    "text", [b'{"a":{"b":1},"b":2}', b'[{"a":1},{"a":2}]', b'{"a":1,"A":2}', b'{"a":"a:a:"}']
)
def test_the_same_key_in_different_objects_is_fine(text):
    assert strict_json(text) == json.loads(text)


@pytest.mark.parametrize(
    "deep", [b"[" * 101 + b"]" * 101, b'{"a":' * 101 + b"1" + b"}" * 101, b"[" * 200_000]
)
def test_what_is_nested_deeper_than_a_hundred_levels_is_refused(deep):
    with pytest.raises(BadJsonError, match="deeper"):
        strict_json(deep)


def test_a_hundred_levels_are_taken():
    assert strict_json(b"[" * 100 + b"]" * 100)


def test_lone_surrogates_and_huge_numbers_are_json():
    assert strict_json(b'"\\ud800"') == "\ud800"
    assert strict_json(b"1" * 5000) == float("inf")


@given(
    st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.text())), st.sampled_from([None, 0, 3])
)
def test_each_member_is_found_byte_for_byte(members, indent):
    text = json.dumps(members, indent=indent).encode()
    for name, content in members.items():
        assert json.loads(member_bytes(text, name)) == content
    with pytest.raises(KeyError):
        member_bytes(text, "\0 not there")
