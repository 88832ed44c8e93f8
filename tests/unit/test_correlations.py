"""Sigma's correlation rules, from the event to the alert: the cases of its specification, in words of our own."""

from itertools import pairwise
from types import SimpleNamespace

import pytest

from schemas.catalog import load_catalog
from schemas.mapping import load_mappings
from services.enricher.alerting.judge import Judge
from services.enricher.alerting.state import State, in_order
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
        (correlation("temporal", "knock, opened", "  condition: {lt: 3}\n"), "too few came"),
        (correlation("event_count", "knock", "  condition: {lt: 0}\n"), "1 to 1,000,000 make sense"),
        (correlation("event_count", "knock", "  condition: {gte: 5000000}\n"), "1,000,000 are the most"),
        (
            correlation("value_count", "knock", "  condition: {field: door, gte: 5000}\n"),
            "1,000 are the most",
        ),
        (correlation("event_count", "5f113a8f-8b61-41ca-b90f-00000000000c", AT_LEAST_3), "counts itself"),
        (correlation("temporal", "knock, opened", AT_LEAST_3), "3 of 2 rules"),
    ],
)
def test_what_cannot_run_is_named_with_its_reason(house, text, reason):
    found = house(text).rules.correlations
    assert found.running == []
    assert reason in found.idle[0].reason


def above(kind, rules, condition, *, group="[who]", span="1h"):
    """A correlation that stands above `Together`."""
    return (
        f"---\ntitle: Above\nid: 5f113a8f-8b61-41ca-b90f-00000000000d\nlevel: critical\ncorrelation:\n"
        f"  type: {kind}\n  rules: [{rules}]\n  group-by: {group}\n  timespan: {span}\n{condition}"
    )


TOGETHER = "5f113a8f-8b61-41ca-b90f-00000000000c"
NAMED = "name: together\n"


def knocks_then_opened(folder_of, **options):
    lower = correlation("event_count", "knock", AT_LEAST_3, group="[who, door]").replace(
        "level: high", f"level: high\n{NAMED}"
    )
    return folder_of(lower + above("temporal_ordered", "together, opened", "", **options))


def test_a_correlation_counts_another_one_by_some_of_what_that_groups_by(house):
    made = knocks_then_opened(house)
    assert made.said(knock(0), knock(1), opened(2), knock(3, door="back")) == []
    (lower,) = made.said(knock(4))
    assert lower.facts["title"] == "Together"
    assert made.said(opened(5, "bob")) == []
    (upper,) = made.said(opened(6))
    assert (upper.severity, upper.facts["title"], upper.facts["group"]) == (
        "critical",
        "Above",
        {"who": "ann"},
    )


def test_correlations_of_a_correlation_are_counted(house):
    text = correlation("event_count", "knock", AT_LEAST_3) + above(
        "value_count", TOGETHER, "  condition: {field: who, gte: 2}\n", group="[]"
    )
    made = house(text)
    said = made.said(*[knock(n, who) for n in range(3) for who in ("ann", "bob")])
    assert [alert.facts["title"] for alert in said] == ["Together", "Together", "Above"]
    assert made.said(*[knock(9, "ann")] * 9) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (above("event_count", TOGETHER, AT_LEAST_3, group="[door]"), "door of the correlation"),
        (above("event_count", TOGETHER, "  condition: {lt: 3}\n"), "not where a condition is lt"),
        (above("event_count", "absent", AT_LEAST_3), "no loaded rule has the name or id absent"),
    ],
)
def test_a_correlation_of_a_correlation_that_cannot_run_is_named(house, text, reason):
    found = house(correlation("event_count", "knock", AT_LEAST_3) + text).rules.correlations
    assert [one.title for one in found.running] == ["Together"]
    assert reason in found.idle[0].reason


def test_wherever_a_crash_falls_the_upper_correlation_is_said_and_said_once(house):
    """A crash keeps some of the changes, in the order in which they are sent."""
    made = knocks_then_opened(house)
    wanted = {alert.id for alert in made.said(knock(0), knock(1), knock(2), opened(3))}
    assert len(wanted) == 2
    order = sorted(made.table, key=in_order)
    for kept in range(len(order) + 1):
        again = knocks_then_opened(house)
        counts = again.counts([knock(0), knock(1), knock(2), opened(3)])
        said = again.take(counts)
        for key in order[kept:]:
            del again.table[key]
        again.restart()
        said += again.take(counts)
        assert {alert.id for alert in said} == wanted


def test_more_than_a_thousand_events_are_counted_in_sixtieths_of_the_span(house):
    made = house(correlation("event_count", "knock", "  condition: {gte: 2000}\n", span="60m"))
    assert made.said(*[knock(second % 60) for second in range(1000)]) == []
    assert made.said(*[knock(3700 + second % 60) for second in range(1500)]) == []
    assert len(made.said(*[knock(3700) for _ in range(600)])) == 1
    (state,) = [raw for key, raw in made.table.items() if key.startswith(b"c|")]
    assert len(state) < 2500


class Watched(House):
    """With the time up to which all is counted."""

    def until(self, second):
        found = self.judge.look(NOW_MS + 1000 * second, NOW_MS + 1000 * second)
        return [alert for alert in found if alert.name == "correlation"]


@pytest.fixture
def watched(tmp_path):
    """Windows of 10 min, of which one begins at second 400 of the tests."""
    assert NOW_MS % 600_000 == 200_000
    return lambda condition, **options: Watched(
        tmp_path,
        correlation(options.pop("kind", "event_count"), "knock", f"  condition: {condition}\n", **options),
    )


def test_too_few_is_said_when_the_window_is_over_and_all_is_counted(watched):
    made = watched("{lt: 3}")
    made.said(knock(0))  # the rule's first window, of which nobody knows what was before
    made.said(knock(410), knock(420), knock(430, "bob"), knock(440, "bob"), knock(450, "bob"))
    assert made.until(410 + 600) == []  # the window ended at 1000, and what is late is waited for
    assert made.until(999 + 600) == []
    (alert,) = made.until(1001 + 600)
    assert alert.facts["group"] == {"who": "ann"}
    assert (alert.facts["found"], alert.severity) == (2, "high")
    assert "found 2 events of who" in alert.text
    assert "fewer than 3" in alert.text
    assert made.until(10_000) == []


def test_a_group_that_was_regular_and_stays_away_is_said_once(watched):
    made = watched("{lt: 1}")
    made.said(knock(0))
    made.said(*[knock(410 + 600 * number) for number in range(3)])
    (alert,) = made.until(20_000)
    assert alert.facts["found"] == 0
    assert made.until(40_000) == []
    made.said(knock(40_000), knock(40_600))
    assert len(made.until(50_000)) == 1


def test_other_than_and_different_values_are_decided_at_the_end_too(watched):
    made = watched("{field: door, neq: 2}", kind="value_count")
    made.said(knock(0))
    made.said(knock(410), knock(411, door="back"), knock(412, "bob"), knock(413, "bob"))
    made.said(*[knock(420 + n, "cy", door=str(n)) for n in range(9)])
    said = {alert.facts["group"]["who"]: alert.text for alert in made.until(3000)}
    assert sorted(said) == ["bob", "cy"]
    assert "found more than 2 different values" in said["cy"]


def test_windows_that_end_are_said_once_wherever_a_crash_falls(watched):
    made = watched("{lte: 2}")
    first, second = made.counts([knock(0), knock(410)]), made.counts([knock(420)], partition=1)
    made.take(first)
    before = dict(made.table)
    made.take(second)
    wanted = [alert.id for alert in made.until(3000)]
    assert len(wanted) == 1
    made.table.clear()
    made.table.update(before)
    made.restart()
    for counts in (first, second, second):
        assert made.take(counts) == []
    assert [(alert.id, alert.facts["found"]) for alert in made.until(3000)] == [(wanted[0], 2)]
    assert made.take(first) + made.take(second) + made.until(4000) == []
    made.judge.look(NOW_MS + 2 * 3_600_000, NOW_MS)
    assert not [key for key in made.table if key.startswith(b"e|")]


@pytest.mark.parametrize("who", ["ann", "eve"])
def test_what_comes_when_its_window_is_over_counts_towards_none(watched, who):
    """Also where nothing is remembered of the group any more, or was never known."""
    made = watched("{lt: 3}")
    made.said(knock(0))
    made.said(*[knock(410 + n) for n in range(5)])
    made.until(20_000)
    made.judge.look(NOW_MS + 2 * 3_600_000, NOW_MS)
    late = made.counts([knock(430, who)])
    for one in late:
        for match in one.matches:
            match.kafka_ms += 3 * 3_600_000
    assert made.take(late) + made.until(50_000) == []


def test_a_group_of_many_values_fits_into_one_message(watched):
    made = watched("{field: door, lt: 1000}", kind="value_count")
    made.said(knock(0))
    made.said(*[knock(410 + 600 * n, door=f"{n}-{door}") for n in range(64) for door in range(1000)])
    assert max(map(len, made.table.values())) < 900_000


def test_a_backlog_opens_no_more_windows_than_are_remembered(watched):
    made = watched("{lt: 2}")
    said = made.said(*[knock(600 * number) for number in range(300)])
    said += made.until(600 * 301)
    assert len(said) == len({alert.id for alert in said}) == 299
    assert max(map(len, made.table.values())) < 2000


def test_rules_that_are_counted_by_nothing_cost_no_matches(house):
    assert house(BASE.rstrip("-\n") + "\n").rules.matcher is None
