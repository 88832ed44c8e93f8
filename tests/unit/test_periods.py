"""Periods: half-open, in a zone, each beginning where the one before ends."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import ConfigurationError
from services.reporter.inputs import Cut, Filters, Inputs
from services.reporter.period import Period, between, following, last_days, period_named

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "Africa/Casablanca",
    "Australia/Lord_Howe",
)
HOUR_US = 3_600_000_000


@given(
    st.sampled_from(
        ("2024-02", "2026-10", "2023-12", "2024-W09", "2020-W53", "2026-10-25", "2024-02-29", "2011-12-29")
    ),
    st.sampled_from(ZONES),
)
def test_periods_follow_each_other_without_gap_or_overlap(label, zone):
    """Leap days, weeks over new year, days of 23 and 25 hours, and the day that Samoa left out."""
    periods = [period_named(label, zone), *islice(following(period_named(label, zone)), 4)]
    for one, other in pairwise(periods):
        assert one.end_us == other.start_us > one.start_us
        assert other.before_us == one.start_us
        assert other.previous().label == one.label
        assert other.previous().start_us == one.start_us
    for one in periods:
        starts = one.day_starts_us
        assert starts[0] == one.start_us
        assert starts == sorted(starts)
        assert starts[-1] < one.end_us
        assert Period.from_json(one.as_json()).as_json() == one.as_json()


@pytest.mark.parametrize(
    ("label", "hours", "days"),
    [
        ("2026-10", 31 * 24 + 1, 31),
        ("2026-10-25", 25, 1),
        ("2026-03-29", 23, 1),
        ("2024-02", 29 * 24, 29),
        ("2026-W13", 167, 7),
    ],
)
def test_daylight_saving_and_leap_days_make_periods_longer_or_shorter(label, hours, days):
    period = period_named(label, "Europe/Berlin")
    assert (period.end_us - period.start_us, period.days) == (hours * HOUR_US, days)


@pytest.mark.parametrize(
    "text",
    [
        "October",
        "2026-13",
        "2026-W54",
        "2025-W53",
        "2026-02-30",
        "0000-01",
        "9999-12-31",
        "2026-10-05T00",
        "",
    ],
)
def test_what_is_no_period_is_refused_with_what_to_write(text):
    with pytest.raises(ConfigurationError, match="a period is a month as in 2026-10"):
        period_named(text)


@pytest.mark.parametrize("zone", ["Mars/Base", "", "../etc/passwd", "UTC\0"])
def test_a_zone_that_nobody_knows_is_refused(zone):
    with pytest.raises(ConfigurationError, match="no such time zone"):
        period_named("2026-10", zone)


def test_any_period_has_a_start_before_its_end():
    start, end = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 10, 2, tzinfo=UTC)
    assert between(start, end, "Europe/Berlin").days == 2
    for wrong in ((end, start), (start, start), (start.replace(tzinfo=None), end.replace(tzinfo=None))):
        with pytest.raises(ConfigurationError):
            between(*wrong)


def test_each_period_says_by_which_time_it_selects():
    assert "Every record is in exactly one period" in period_named("2026-10", rule="schedule").explanation
    assert "by event time" in period_named("2026-10").explanation
    assert "by append time" in last_days(1_793_000_000_000_000).explanation
    assert period_named("2026-W41").title == "week 41 of 2026 (2026-10-05 to 2026-10-11)"


def test_inputs_come_back_from_json_as_they_were():
    inputs = Inputs(
        "monthly",
        period_named("2026-10", "Europe/Berlin", "schedule"),
        Cut(7, "ab" * 32, 5, {1: 10, 12: 3}),
        number=2,
        replaces="monthly/2026-10/1",
        why="late events",
        by="casey",
        filters=Filters(("a",), (), ("t",)),
        summary={"by": "rules"},
    )
    assert Inputs.from_json(inputs.as_json()) == inputs
    assert inputs.edition == "monthly/2026-10/2"
