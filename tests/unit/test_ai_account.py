"""The account of the AI budget: whoever folds the log decides alike, and no order of entries exceeds a limit."""

import json
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.ai.account import (
    CLAIM_MS,
    HOUR_MS,
    MINUTE_MS,
    Account,
    Entry,
    Granted,
    Limits,
    Refused,
    Release,
    Reserve,
    Settle,
    Snapshot,
)
from services.common.ai.prices import price_of
from services.common.ai.settings import AiSettings
from services.common.errors import ConfigurationError
from services.common.settings import read_settings

START = 1_790_000_000_000  # 2026-09-21
DAY = 24 * HOUR_MS


def reserve(number, purpose="event", tokens=10, micro=5, limits=None, **more):
    return Reserve(str(number), purpose, tokens, micro, limits or Limits(), **more)


def granted(account, count, at=START, **wanted):
    """How many of some requests at one moment are granted."""
    decisions = [account.apply(reserve(random.random(), **wanted), at) for _ in range(count)]
    return sum(isinstance(decision, Granted) for decision in decisions)


@pytest.mark.parametrize(
    ("limits", "reached"),
    [
        (Limits(month=(10, 0, 0)), "month requests"),
        (Limits(month=(0, 100, 0)), "month tokens"),
        (Limits(month=(0, 0, 50)), "month dollars"),
        (Limits(minute=(10, 0, 0)), "minute requests"),
        (Limits(minute=(0, 100, 0)), "minute tokens"),
        (Limits(minute=(0, 0, 50)), "minute dollars"),
    ],
)
def test_every_limit_is_kept_with_shares_for_summaries_and_for_high_risk(limits, reached):
    account = Account()
    assert granted(account, 20, limits=limits) == 7
    refused = account.apply(reserve(1, limits=limits), START)
    assert (refused.limit, refused.again_ms is None) == (reached, reached.startswith("month"))
    assert granted(account, 20, purpose="high", limits=limits) == 2
    assert granted(account, 20, purpose="summary", limits=limits) == 1


def test_a_share_that_is_used_is_not_kept_twice():
    account, limits = Account(), Limits(month=(100, 0, 0))
    assert granted(account, 50, purpose="high", limits=limits) == 50
    assert granted(account, 100, limits=limits) == 40
    assert granted(account, 100, purpose="summary", limits=limits) == 10
    assert granted(account, 100, purpose="high", limits=limits) == 0


def test_what_a_request_did_not_take_is_given_back_and_a_crash_gives_nothing_back():
    account, limits = Account(), Limits(month=(0, 0, 1000))
    for number in range(7):
        assert isinstance(account.apply(reserve(number, micro=100, limits=limits), START), Granted)
    assert isinstance(account.apply(reserve(8, micro=100, limits=limits), START), Refused)
    account.apply(Settle("0", 3, 10), START)
    account.apply(Settle("0", 3, 0), START)  # again: without effect
    assert isinstance(account.apply(reserve(9, micro=90, limits=limits), START + DAY), Granted)
    assert isinstance(account.apply(reserve(10, micro=90, limits=limits), START + DAY), Refused)


def test_a_minute_slides_and_a_month_begins_anew():
    account, limits = Account(), Limits(minute=(2, 0, 0), month=(3, 0, 0))
    assert granted(account, 5, limits=limits) == 2
    refused = account.apply(reserve(1, limits=limits), START + 20_000)
    assert refused == Refused("minute requests", MINUTE_MS - 20_000)
    assert granted(account, 5, at=START + MINUTE_MS, limits=limits) == 1
    assert granted(account, 5, at=START + 40 * DAY, limits=limits) == 2


def test_a_source_has_so_many_new_shapes_an_hour_and_takes_nothing_from_another():
    account, limits = Account(), Limits(shapes_an_hour=3)
    assert granted(account, 10, purpose="shape", limits=limits, source="/a") == 3
    assert granted(account, 10, purpose="shape", limits=limits, source="/b") == 3
    assert granted(account, 10, at=START + HOUR_MS, purpose="shape", limits=limits, source="/a") == 3


def test_sources_of_about_one_age_have_one_quota_together_and_take_nothing_from_older_ones():
    account, limits = Account(), Limits(shapes_an_hour=3, shapes_together=5)

    def ask(prefix, count, at):
        return sum(
            granted(account, 1, at=at, purpose="shape", limits=limits, source=f"{prefix}{n}")
            for n in range(count)
        )

    assert ask("/old", 3, START) == 3
    assert ask("/made-up", 1000, START) == 2  # five of them new today
    assert ask("/old", 3, START + 25 * HOUR_MS) == 3
    assert ask("/late", 1000, START + 25 * HOUR_MS) == 5
    assert account.age("/old0") == account.age("/made-up1") == 1
    assert account.age("/made-up999") == 0  # never had one
    assert ask("/old", 3, START + 30 * 24 * HOUR_MS) == 3
    assert (account.age("/old0"), account.age("/late0")) == (5, 5)
    assert ask("/again", 1000, START + 30 * 24 * HOUR_MS) == 5


def test_an_account_full_of_made_up_sources_stays_small_and_knows_those_of_before():
    account, limits = Account(), Limits(shapes_an_hour=3)
    for n in range(9_000):
        account.apply(
            reserve(n, purpose="shape", limits=limits, source="/s/" + "x" * 180 + str(n)), START + n
        )
        account.apply(Settle(str(n), 1, 1), START + n)
    account.apply(Settle("0", 1, 1), START + DAY)
    assert account.age("/s/" + "x" * 180 + "0") == 1
    assert account.age("/s/" + "x" * 180 + "8999") == 0
    assert len(msgspec.json.encode(account.snapshot(1))) < 1_000_000  # what one message takes


def test_what_is_claimed_is_nobody_elses_until_it_is_released_or_forgotten():
    account = Account()
    assert isinstance(account.apply(reserve(1, claim="s"), START), Granted)
    assert account.apply(reserve(2, claim="s"), START + 1) == Refused("claimed", CLAIM_MS - 1)
    account.apply(Release("s", "2"), START + 1)  # not its own
    assert account.claimed("s")
    account.apply(Release("s", "1"), START + 2)
    assert isinstance(account.apply(reserve(3, claim="s"), START + 2), Granted)
    assert isinstance(account.apply(reserve(4, claim="s"), START + 2 + CLAIM_MS), Granted)


entries = st.lists(
    st.tuples(
        st.integers(0, 90_000),
        st.one_of(
            st.builds(
                reserve,
                st.integers(0, 30),
                st.sampled_from(["summary", "high", "event", "shape"]),
                st.integers(0, 100),
                st.integers(0, 100),
                st.just(Limits((5, 300, 300), (20, 1000, 900), 3, 4)),
                source=st.sampled_from(["", "/a", "/b", "/c"]),
                claim=st.sampled_from(["", "s"]),
            ),
            st.builds(Settle, st.integers(0, 30).map(str), st.integers(0, 50), st.integers(0, 50)),
            st.builds(Release, st.just("s"), st.integers(0, 30).map(str)),
        ),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(entries, st.integers(0, 60))
def test_a_snapshot_goes_on_as_the_whole_log_would(log, cut):
    whole, at, snapshot, later = Account(), START, None, []
    for number, (pause, entry) in enumerate(log):
        if number == cut:
            raw = msgspec.json.encode(whole.snapshot(number - 1))
            snapshot = Account.restored(msgspec.json.decode(raw, type=Entry))
        at += pause
        decision = whole.apply(entry, at)
        if snapshot is not None:
            later.append((decision, snapshot.apply(entry, at)))
    assert all(one == other for one, other in later)


@settings(max_examples=60, deadline=None)
@given(entries)
def test_no_order_of_entries_exceeds_the_month(log):
    account, at = Account(), START
    for pause, entry in log:
        at += pause
        account.apply(entry, at)
        sums = [sum(used[unit] for used in account.spent.values()) for unit in range(3)]
        assert all(total <= limit for total, limit in zip(sums, (20, 1000, 900), strict=True))


def test_a_snapshot_is_json():
    assert isinstance(msgspec.json.decode(msgspec.json.encode(Account().snapshot(3)), type=Entry), Snapshot)


# -- prices


@pytest.mark.parametrize(
    ("model", "dollars"),
    [
        ("gpt-4o-mini", 0.15),
        ("gpt-4o-mini-2024-07-18", 0.15),
        ("gpt-4o-2024-05-13", 5.0),
        ("gpt-4o-2024-08-06", 2.5),
    ],
)
def test_a_dated_model_has_the_price_of_its_name(model, dollars):
    assert price_of(model).dollars_in == dollars


def test_a_price_of_ones_own_goes_first_and_says_its_date(tmp_path):
    file = tmp_path / "prices.yaml"
    file.write_text(
        "date: 2026-11-01\nmodels: {llama: {input: 0, output: 0.5}, gpt-4o: {input: 1, output: 2}}\n"
    )
    assert price_of("llama", file).micro(1_000_000, 3) == 2
    assert price_of("gpt-4o", file)[::2] == (1.0, "2026-11-01")
    assert price_of("gpt-4o-mini", file).dollars_in == 0.15
    assert price_of("nobody", file) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "date: x\nmodels: {}",
        "models: {a: 1}",
        "date: 2026-01-01\nmodels: {a: {input: -1, output: 1}}",
        "{",
    ],
)
def test_a_wrong_price_file_says_what_it_must_hold(tmp_path, text):
    file = tmp_path / "prices.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match="AI_PRICES_FILE"):
        price_of("gpt-4o", file)


def test_a_dollar_limit_without_a_price_is_an_error_that_says_what_to_set():
    variables = {"OPENAI_API_KEY": "k", "OPENAI_MODEL": "llama", "AI_MAX_DOLLARS_PER_MONTH": "3"}
    with pytest.raises(ConfigurationError, match="AI_PRICES_FILE"):
        read_settings(AiSettings, variables).price()
    assert read_settings(AiSettings, variables | {"AI_MAX_DOLLARS_PER_MONTH": ""}).price() is None
    assert read_settings(AiSettings, variables | {"OPENAI_MODEL": "gpt-4o-mini"}).limits.month[2] == 3_000_000
    assert json.dumps(read_settings(AiSettings, variables).limits.month) == "[5000, 0, 3000000]"
