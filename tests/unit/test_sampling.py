"""The auditor's sample: drawn by a seed, the same for everyone who draws it again."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.reporter.sampling import Member, allocate, draw, strata, ticket

NAMES = st.sampled_from([("high", "a"), ("high", "b"), ("low", "a"), ("low", "b")])
POPULATIONS = st.lists(NAMES, min_size=1, max_size=200).map(
    lambda names: [Member(at, sha256(bytes([at])).digest(), name) for at, name in enumerate(names)]
)


@given(POPULATIONS, st.text(max_size=20), st.integers(1, 250))
def test_the_sample_is_of_the_size_wanted_and_the_same_in_any_order(population, seed, wanted):
    drawn = draw(population, seed, wanted)
    assert len(drawn) == len({item.member.id for item in drawn}) == min(wanted, len(population))
    assert drawn == draw(reversed(population), seed, wanted)


@given(POPULATIONS, st.integers(1, 250))
def test_every_stratum_is_looked_at_where_there_are_places_enough(population, wanted):
    sizes = strata(population)
    places = allocate(sizes, wanted)
    assert all(0 <= places[name] <= sizes[name] for name in sizes)
    assert sum(places.values()) == min(wanted, len(population))
    if wanted >= len(sizes):
        assert min(places.values()) >= 1


def test_places_go_by_size():
    assert allocate({("high",): 10, ("low",): 9990}, 25) == {("high",): 1, ("low",): 24}
    assert allocate({("a",): 600, ("b",): 400}, 10) == {("a",): 6, ("b",): 4}


def test_a_record_is_drawn_by_its_ticket_as_the_docstring_says():
    record_hash = bytes(range(32))
    assert ticket("seed", record_hash) == sha256(b"piperoll-sample/v1\nseed\x00" + record_hash).digest()
    population = [Member(at, sha256(bytes([at])).digest(), ("x",)) for at in range(100)]
    drawn = draw(population, "seed", 3)
    by_hand = sorted(
        population, key=lambda member: sha256(b"piperoll-sample/v1\nseed\x00" + member.record_hash).digest()
    )
    assert [item.member for item in drawn] == by_hand[:3]


def test_another_seed_draws_others():
    population = [Member(at, sha256(at.to_bytes(4)).digest(), ("x",)) for at in range(1000)]
    samples = [tuple(item.member.id for item in draw(population, f"s{seed}", 5)) for seed in range(50)]
    assert len(set(samples)) == 50
    assert max(Counter(at for sample in samples for at in sample).values()) <= 5


def test_a_sample_of_none_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        allocate({("x",): 3}, 0)
