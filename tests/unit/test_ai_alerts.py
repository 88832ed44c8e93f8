"""Spend, failures and disagreement of models with the rules: told once, and only where they are out of the usual."""

import pytest

from schemas.enrichment import Enrichment
from services.enricher.agreement import PERIOD_MS, Agreement
from services.enricher.alerting.ai_feed import Facts, Seen
from services.enricher.alerting.ai_use import AiUse
from services.enricher.alerting.state import State
from services.enricher.alerting.thresholds import load_thresholds

HOUR = 3_600_000
START = 500_000 * HOUR


class Bench:
    """Over a plain dict; each `hour` is a burst in that hour since the start."""

    def __init__(self):
        self.table, self.offset, self.alerts = {}, 0, []
        self.restart()
        self.take([], START)

    def restart(self):
        self.use = AiUse(State(self.table), load_thresholds())

    def take(self, seen, now_ms):
        new = self.use.take(seen, self.offset, now_ms)
        self.alerts += new
        return [alert.name for alert in new]

    def requests(self, hour, count, outcome="answered", tokens=100, dollars=None):
        seen = []
        for _ in range(count):
            facts = Facts(outcome, tokens_in=tokens, cost_usd=dollars)
            seen.append(Seen(self.offset, START + hour * HOUR + 1, True, facts))
            self.offset += 1
        return self.take(seen, START + hour * HOUR + 1)

    def readings(self, hour, readings, apart):
        self.offset += 1
        seen = [Seen(self.offset - 1, START + hour * HOUR, False, Facts(readings=readings, apart=apart))]
        return self.take(seen, START + hour * HOUR)


@pytest.fixture
def bench():
    return Bench()


def test_an_hour_that_costs_much_more_than_usual_is_told_once(bench):
    for hour in range(30):
        assert bench.requests(hour, 60, dollars=0.001) == []
    assert bench.requests(30, 60, dollars=0.001) == []
    assert bench.requests(30, 130, dollars=0.001) == ["ai_spend"]
    assert bench.requests(30, 500, dollars=0.001) == []
    (alert,) = bench.alerts
    assert alert.facts["usual"] == 0.06
    assert alert.facts["dollars"] == 0.19
    assert "took $0.1900; usual are $0.0600" in alert.text


def test_without_a_price_tokens_are_compared_and_few_requests_are_nobodys_business(bench):
    for hour in range(26):
        bench.requests(hour, 60)
    assert bench.requests(26, 49, tokens=10_000) == []
    assert bench.requests(26, 1, tokens=10_000) == ["ai_spend"]
    assert "500,000 tokens; usual are 6,000" in bench.alerts[0].text


def test_a_burst_after_quiet_days_is_out_of_the_usual_and_the_first_day_is_not(bench):
    assert bench.requests(2, 300) == []
    assert bench.requests(60, 51) == ["ai_spend"]


def test_half_of_the_requests_failing_is_told_once_with_the_reason(bench):
    assert bench.requests(0, 19, outcome="slow") == []
    assert bench.requests(0, 1, outcome="away") == ["ai_failures"]
    assert bench.requests(0, 50, outcome="away") == []
    assert bench.alerts[0].facts == bench.alerts[0].facts | {"failed": 20, "why": "slow"}
    assert bench.requests(1, 60) == []
    assert bench.requests(1, 59, outcome="slow") == []
    assert bench.requests(1, 1, outcome="slow") == ["ai_failures"]


def test_disagreement_is_told_where_its_share_is_large_and_unusual(bench):
    assert bench.readings(0, 99, 99) == []
    for hour in range(1, 10):
        assert bench.readings(hour, 1000, 150) == []
    assert bench.readings(10, 1000, 290) == []
    assert bench.readings(11, 1000, 400) == ["ai_disagreement"]
    assert bench.readings(11, 1000, 900) == []
    assert bench.alerts[0].facts["apart"] == 400


def test_what_is_read_again_after_a_crash_counts_once_and_is_told_once(bench):
    bench.requests(0, 15, outcome="away")
    bench.offset = 0
    bench.restart()
    assert bench.requests(0, 19, outcome="away") == []
    assert bench.requests(0, 1, outcome="away") == ["ai_failures"]
    bench.offset = 0
    bench.restart()
    assert bench.requests(0, 20, outcome="away") == []


def test_the_place_to_read_on_goes_out_after_what_was_counted(bench):
    """A crash between two batches of the state leaves the first ones: what was counted must not be taken for read."""

    class Ordered(dict):
        def __setitem__(self, key, value):
            order.append(key)
            super().__setitem__(key, value)

    order: list[bytes] = []
    bench.table = Ordered(bench.table)
    bench.restart()
    bench.requests(0, 19, outcome="away")
    place = [key for key in order if b"cursor" in key]
    assert place == order[-1:]
    assert len(order) > 1


@pytest.mark.parametrize(("first", "second"), [(15, 15), (25, 25)])
def test_a_window_that_is_read_in_pieces_long_after_is_told_once(bench, first, second):
    def failures(count):
        seen = []
        for _ in range(count):
            seen.append(Seen(bench.offset, START + 10 * HOUR, True, Facts("away", tokens_in=100)))
            bench.offset += 1
        return bench.take(seen, START + 14 * HOUR)

    assert failures(first) + failures(second) == ["ai_failures"]


def test_windows_that_no_rule_looks_at_any_more_are_forgotten(bench):
    for hour in range(200):
        bench.requests(hour, 1)
        bench.readings(hour, 1, 0)
    assert len(bench.table) < 90


def test_readings_two_levels_away_from_the_rules_are_apart():
    now = [0.0]
    agreement = Agreement(lambda: now[0])
    for rules, model in [
        ("low", "medium"),
        ("low", "high"),
        ("high", "low"),
        ("medium", "informational"),
        ("low", "low"),
    ]:
        agreement.read(Enrichment("structured", "/a", "i", "t", "s", rules, []), model)
    assert agreement.due("piperoll/annotator", "m") is None
    now[0] = PERIOD_MS
    event = agreement.due("piperoll/annotator", "m")
    assert b'"readings":5,"apart":3,"above_rules":1,"below_rules":2' in event
    now[0] = 2 * PERIOD_MS
    assert agreement.due("piperoll/annotator", "m") is None
