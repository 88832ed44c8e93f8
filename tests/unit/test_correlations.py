"""Sigma's correlation rules, from the event to the alert: the cases of its specification, in words of our own."""

from itertools import pairwise
from types import SimpleNamespace

import pytest

from schemas.catalog import load_catalog
from schemas.mapping import load_mappings
from services.enricher.alerting.judge import Judge
from services.enricher.alerting.state import State
from services.enricher.alerting.thresholds import load_thresholds
from services.enricher.counts import PIECE_MATCHES, Tally, read_counts
from services.enricher.enrich import Coordinates, Enricher
from services.enricher.rules.index import load_rules
from tests.alerting import event

NOW_MS = 1_790_000_000_000
TOPIC = b"\7" * 16
BASE = """title: Door knocked at
name: knock
logsource: {product: piperoll, service: unknown}
detection: {selection: {door: "*", act: knock}, condition: selection}
level: informational
---
title: Door opened
name: opened
logsource: {product: piperoll, service: unknown}
detection: {selection: {door: "*", act: open}, condition: selection}
level: informational
---
title: Window broken
name: broken
logsource: {product: piperoll, service: unknown}
detection: {selection: {window: "*"}, condition: selection}
level: informational
---
"""


def correlation(kind, rules, condition="", *, group="[who]", more="", level="high", span="10m"):
    return BASE + (
        f"title: Together\nid: 5f113a8f-8b61-41ca-b90f-00000000000c\nlevel: {level}\ncorrelation:\n  type: {kind}\n"
        f"  rules: [{rules}]\n  group-by: {group}\n  timespan: {span}\n{condition}{more}"
    )


AT_LEAST_3 = "  condition: {gte: 3}\n"


class House:
    """An enricher with a rule file, and an alerter over a plain dict."""

    def __init__(self, folder, text):
        (folder / "rules.yml").write_text(text)
        mappings = load_mappings()
        self.rules = load_rules(mappings.all, pack=folder)
        self.enricher = Enricher(load_catalog(), mappings, self.rules, event_limit=1 << 20, ai=None)
        self.table, self.offsets = {}, {}
        self.restart()

    def restart(self):
        self.judge = Judge(State(self.table), load_thresholds())

    def counts(self, events, *, first=None, partition=0, taken_ms=NOW_MS):
        """Counts of (second, data) at the next offsets of a partition."""
        start = self.offsets.get(partition, 0) if first is None else first
        records, results = [], []
        for offset, (second, data) in enumerate(events, start):
            kafka_ms = NOW_MS + 1000 * second
            value = event(offset, "/house", high=False, time_s=kafka_ms / 1000, type="house", data=data)
            records.append(
                SimpleNamespace(offset=offset, key=None, value=value, headers=(), timestamp=kafka_ms)
            )
            at = Coordinates(TOPIC, partition, offset, kafka_ms)
            results.append(self.enricher.enrich(None, value, [], at, bytes(32)))
        self.offsets[partition] = start + len(records)
        tally = Tally(TOPIC, partition)
        tally.take(records, results, *self.enricher.take_matches())
        made = tally.messages(taken_ms)
        return [read_counts(one) for one in made]

    def take(self, counts):
        return [alert for one in counts for alert in self.judge.take(one, ()) if alert.name == "correlation"]

    def said(self, *events, **options):
        return self.take(self.counts(events, **options))


@pytest.fixture
def house(tmp_path):
    return lambda text: House(tmp_path, text)


def knock(second, who="ann", door="front"):
    return second, {"act": "knock", "door": door, "who": who}


def opened(second, who="ann"):
    return second, {"act": "open", "door": "front", "who": who}


def broken(second, who="ann"):
    return second, {"window": "left", "who": who}


def test_so_many_events_of_one_group_within_the_span_are_one_alert(house):
    made = house(correlation("event_count", "knock", AT_LEAST_3))
    assert made.said(knock(0), knock(60), knock(120, "bob"), knock(700)) == []
    (alert,) = made.said(knock(650), knock(655), knock(800, "bob"))
    assert (alert.name, alert.severity, alert.facts["rule"]) == (
        "correlation",
        "high",
        "5f113a8f-8b61-41ca-b90f-00000000000c",
    )
    assert alert.facts["group"] == {"who": "ann"}
    assert 'within 10 min of who "ann"' in alert.text


def test_the_window_slides_and_is_by_event_time(house):
    made = house(correlation("event_count", "knock", AT_LEAST_3))
    assert made.said(knock(0), knock(590), knock(1189)) == []
    assert len(made.said(knock(1150))) == 1


def test_a_flood_is_one_alert_for_each_span(house):
    made = house(correlation("event_count", "knock", AT_LEAST_3))
    alerts = made.said(*[knock(second) for second in range(0, 1800, 10)])
    assert len(alerts) == 3
    assert len({alert.id for alert in alerts}) == 3


def test_different_values_of_a_field_are_counted(house):
    made = house(correlation("value_count", "knock", "  condition: {gte: 3, field: door}\n"))
    assert made.said(*[knock(second, door="front") for second in range(20)]) == []
    assert made.said(knock(30, door="back")) == []
    assert made.said(knock(700, door="roof"), knock(710, door="cellar")) == []
    assert len(made.said(knock(720, door="front"))) == 1


def test_events_of_all_rules_within_the_span_in_any_order(house):
    made = house(correlation("temporal", "knock, opened, broken"))
    assert made.said(broken(0), knock(30, "bob"), opened(40)) == []
    assert made.said(knock(700)) == []
    assert len(made.said(broken(710), opened(720))) == 1


def test_events_of_all_rules_one_after_the_other(house):
    made = house(correlation("temporal_ordered", "knock, opened, broken"))
    assert made.said(broken(0), opened(10), knock(20)) == []
    assert made.said(opened(30)) == []
    assert len(made.said(broken(40))) == 1


def test_fields_have_other_names_in_other_rules(house):
    more = "  aliases: {person: {knock: who, broken: by}}\n"
    made = house(correlation("temporal", "knock, broken", group="[person]", more=more))
    assert made.said(knock(0), (1, {"window": "left", "by": "bob"})) == []
    assert len(made.said((2, {"window": "left", "by": "ann"}))) == 1


def test_without_group_by_all_events_are_one_group_and_without_the_field_an_event_is_in_none(house):
    made = house(correlation("event_count", "knock", AT_LEAST_3, group="[]"))
    assert len(made.said(knock(0), knock(1, "bob"), knock(2, "eve"))) == 1
    named = house(correlation("event_count", "knock", AT_LEAST_3))
    assert (
        named.said(*[(second, {"act": "knock", "door": "front"}) for second in range(5)], partition=1) == []
    )


def test_an_event_counts_once_however_often_it_comes_and_wherever_a_crash_falls(house):
    """The state as it was before or after each message of the counts, in other pieces, from two partitions."""
    text = correlation("event_count", "knock", "  condition: {gte: 5}\n")
    events = [knock(second) for second in range(4)]
    first = house(text)
    wanted = first.said(*events) + first.said(knock(9), partition=1)
    assert len(wanted) == 1
    for crash_after in range(3):
        made = house(text)
        messages = [made.counts(events[:2]), made.counts(events[2:]), made.counts([knock(9)], partition=1)]
        said, kept = [], {}
        for number, message in enumerate(messages):
            said += made.take(message)
            if number < crash_after:
                kept = dict(made.table)
        made.table.clear()
        made.table.update(kept)  # what was said after it is not known any more
        made.restart()
        for again in (made.counts(events, first=0), made.counts([knock(9)], first=0, partition=1)):
            said += made.take(again)
        assert {alert.id for alert in said} == {wanted[0].id}


def test_one_event_that_two_rules_count_is_one_event(house):
    both = (0, {"act": "knock", "door": "front", "window": "left", "who": "ann"})
    made = house(correlation("event_count", "knock, broken", AT_LEAST_3))
    assert made.said(both, (1, both[1])) == []
    assert len(made.said(knock(2))) == 1
    together = house(correlation("temporal", "knock, broken"))
    assert len(together.said(both, partition=2)) == 1


def test_a_group_remembers_no_more_than_it_takes(house):
    made = house(correlation("event_count", "knock", "  condition: {gt: 100}\n", span="1s"))
    made.said(*[knock(2 * second) for second in range(2000)])
    (state,) = [raw for key, raw in made.table.items() if key.startswith(b"c|")]
    assert len(state) < 2500


def test_groups_are_forgotten_after_their_span(house):
    made = house(correlation("event_count", "knock", AT_LEAST_3))
    made.said(*[knock(0, f"u{n}") for n in range(50)])
    made.judge.look(NOW_MS + 2 * 3_600_000, NOW_MS)
    assert not [key for key in made.table if key.startswith(b"c|")]


def test_matches_of_a_flood_go_out_in_messages_that_hold_whole_events(house):
    made = house(correlation("event_count", "knock, broken", AT_LEAST_3))
    both = {"act": "knock", "door": "front", "window": "left", "who": "ann"}
    counts = [one for one in made.counts([(0, both)] * 600) if one.matches]
    assert sum(len(one.matches) for one in counts) == 1200
    assert all(PIECE_MATCHES <= len(one.matches) <= PIECE_MATCHES + 1 for one in counts[:-1])
    ends = [(one.matches[0].offset, one.matches[-1].offset) for one in counts]
    assert all(before[1] < after[0] for before, after in pairwise(ends))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (correlation("event_count", "nobody", AT_LEAST_3), "no loaded rule has the name or id nobody"),
        (correlation("event_count", "knock", "  condition: {lt: 3}\n"), "that too few came"),
        (correlation("event_count", "knock", "  condition: {gte: 5000}\n"), "1000 are the most"),
        (correlation("temporal", "knock, opened", AT_LEAST_3), "3 of 2 rules"),
    ],
)
def test_what_cannot_run_is_named_with_its_reason(house, text, reason):
    found = house(text).rules.correlations
    assert found.running == []
    assert reason in found.idle[0].reason


def test_rules_that_are_counted_by_nothing_cost_no_matches(house):
    assert house(BASE.rstrip("-\n") + "\n").rules.matcher is None
