"""Many hashes at once are those of hashlib, in both ways, and nothing but bytes is taken."""

import gc
import sys
from hashlib import sha256

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas import hashing
from schemas.hashing import sha256_each

pytestmark = pytest.mark.usefixtures("each_way_to_hash")

SIZES = (0, 1, 31, 32, 33, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 227)
SOME = st.one_of(st.binary(max_size=200), st.sampled_from([bytes(size) for size in SIZES]))


@given(prefix=SOME, items=st.lists(SOME, max_size=20))
@example(prefix=b"", items=[])
@example(prefix=b"\0", items=[bytes(2**20), b"", b"\xff" * (2**20 + 1)])
def test_one_list_is_hashed_as_hashlib_does(prefix, items):
    assert sha256_each(prefix, items) == [sha256(prefix + item).digest() for item in items]


@given(prefix=SOME, pairs=st.lists(st.tuples(SOME, SOME), max_size=20))
@example(prefix=b"\1", pairs=[])
@example(prefix=b"", pairs=[(bytes(2**20), b"\0"), (b"", b"")])
def test_of_two_lists_the_items_are_joined(prefix, pairs):
    first, second = [one for one, _ in pairs], [other for _, other in pairs]
    assert sha256_each(prefix, first, second) == [
        sha256(prefix + one + other).digest() for one, other in pairs
    ]


@pytest.mark.parametrize("size", SIZES)
def test_every_length_around_the_borders_of_a_block(size):
    for prefix in (b"", b"\0", b"audit-pay/v1\n"):
        item = bytes(range(256))[:size]
        assert sha256_each(prefix, [item]) == [sha256(prefix + item).digest()]
        assert sha256_each(prefix, [item], [item]) == [sha256(prefix + item + item).digest()]


def test_bytes_of_a_subclass_are_bytes():
    assert sha256_each(b"", [type("Ours", (bytes,), {})(b"abc")]) == [sha256(b"abc").digest()]


@pytest.mark.parametrize("wrong", [None, "text", 7, 1.5, [b""], object()])
def test_what_is_not_bytes_is_a_type_error_wherever_it_stands(wrong):
    good = [b"a", b"b", b"c"]
    for at in range(3):
        spoilt = [*good[:at], wrong, *good[at + 1 :]]
        for lists in ([spoilt], [spoilt, good], [good, spoilt]):
            with pytest.raises(TypeError):
                sha256_each(b"", *lists)
    with pytest.raises(TypeError):
        sha256_each(wrong, good)
    with pytest.raises(TypeError):
        sha256_each(wrong, good, good)


@pytest.mark.parametrize(("first", "second"), [(1, 0), (0, 1), (2, 3), (3, 2)])
def test_lists_of_different_lengths_are_a_value_error(first, second):
    with pytest.raises(ValueError, match=r".+"):
        sha256_each(b"", [b"x"] * first, [b"x"] * second)


def test_nothing_is_kept_of_what_was_hashed_also_after_an_error():
    """Counted by references: an item is held by its list and by this test alone."""
    item, spoilt = bytes(range(100)), "no bytes"
    before = sys.getrefcount(item)
    for _ in range(200):
        sha256_each(item, [item, item], [item, item])
        with pytest.raises(TypeError):
            sha256_each(item, [item, item], [item, spoilt])
    gc.collect()
    assert sys.getrefcount(item) == before


def test_the_native_part_takes_lists_only(each_way_to_hash):
    """Nothing that could run code or change while it is read."""
    if each_way_to_hash == "native":
        for wrong in ((b"a",), iter([b"a"]), b"a", None):
            with pytest.raises(TypeError):
                hashing._digests(b"", wrong)
            with pytest.raises(TypeError):
                hashing._digests(b"", [b"a"], wrong)
    else:
        assert hashing._digests is hashing._by_hashlib
