"""Batches end where they should."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from services.enricher.transport import BatchLimits, split


def record(size):
    return SimpleNamespace(serialized_key_size=-1, serialized_value_size=size)


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=50), st.integers(1, 10), st.integers(200, 9000))
def test_batches_keep_order_and_limits(sizes, events, limit):
    records = [record(size) for size in sizes]
    parts = split(records, BatchLimits(events, limit))
    assert [item for part in parts for item in part] == records
    for part in parts:
        assert 1 <= len(part) <= events
        weight = sum(item.serialized_value_size + 99 for item in part)
        assert weight <= limit or len(part) == 1
