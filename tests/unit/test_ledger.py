"""The ledger alone says what may be committed."""

from hypothesis import given
from hypothesis import strategies as st

from services.enricher.ledger import Ledger


def test_nothing_may_be_committed_before_the_first_range_is_done():
    ledger = Ledger()
    ledger.register("p", 0, 9, now=0.0)
    assert ledger.position("p") is None


def test_a_range_done_out_of_order_waits_for_those_before_it():
    ledger = Ledger()
    first, second, third = (ledger.register("p", start, start + 9, now=0.0) for start in (0, 10, 20))
    ledger.complete(third)
    ledger.complete(second)
    assert ledger.position("p") is None
    ledger.complete(first)
    assert ledger.position("p") == 30


def test_a_range_forgotten_at_a_revocation_moves_nothing_when_it_completes_late():
    ledger = Ledger()
    late = ledger.register("p", 0, 9, now=0.0)
    ledger.forget(["p"])
    again = ledger.register("p", 0, 9, now=1.0)
    ledger.complete(late)
    assert ledger.position("p") is None
    ledger.complete(again)
    assert ledger.position("p") == 10


def test_a_hole_between_ranges_does_not_hold_the_position_back():
    ledger = Ledger()
    first, second = ledger.register("p", 0, 9, now=0.0), ledger.register("p", 15, 19, now=0.0)
    ledger.complete(first)
    ledger.complete(second)
    assert ledger.position("p") == 20


def test_a_leading_range_is_stuck_only_after_the_limit_and_with_work_behind_it():
    ledger = Ledger()
    ledger.register("p", 0, 9, now=0.0)
    assert ledger.stuck(100.0, limit_s=60.0) == []
    ledger.register("p", 10, 19, now=50.0)
    assert ledger.stuck(59.0, limit_s=60.0) == []
    assert ledger.stuck(61.0, limit_s=60.0) == ["p"]


@given(st.integers(1, 30).flatmap(lambda n: st.tuples(st.just(n), st.permutations(range(n)))))
def test_the_position_is_always_behind_the_first_range_that_is_not_done(case):
    count, order = case
    ledger = Ledger()
    ranges = [ledger.register("p", at * 5, at * 5 + 4, now=0.0) for at in range(count)]
    done = set()
    for at in order:
        ledger.complete(ranges[at])
        done.add(at)
        leading = next((n for n in range(count) if n not in done), count)
        assert ledger.position("p") == (leading * 5 if leading else None)
