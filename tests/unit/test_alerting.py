"""From counts to alerts: each event counts once, however often and in whatever pieces its counts come."""

from types import SimpleNamespace

import msgspec
import pytest

from schemas.commitment import producer_id
from services.common.errors import ConfigurationError
from services.enricher.alerting.judge import Judge
from services.enricher.alerting.sequence import Gap, Sequence, in_words
from services.enricher.alerting.state import State
from services.enricher.alerting.thresholds import load_thresholds
from services.enricher.counts import Tally, backfill_of, read_counts
from services.enricher.enrich import Coordinates
from tests.alerting import event
from tests.shipped import shipped_enricher

NOW_MS = 1_790_000_000_000
MINUTE = 60_000
TOPIC = b"\7" * 16


def counts_of(values, *, first=0, partition=0, taken_ms=NOW_MS, kafka_ms=NOW_MS, headers=()):
    """Counts of messages at offsets from `first` on, as the enricher makes them of bytes."""
    records, results = [], []
    for offset, value in enumerate(values, first):
        record = SimpleNamespace(offset=offset, key=None, value=value, headers=headers, timestamp=kafka_ms)
        at = Coordinates(TOPIC, partition, offset, kafka_ms)
        records.append(record)
        results.append(shipped_enricher().enrich(None, value, headers, at, bytes(32)))
    tally = Tally(TOPIC, partition)
    for start in range(0, len(records), 50):
        tally.take(records[start : start + 50], results[start : start + 50])
    return [read_counts(one) for one in tally.messages(taken_ms)]


def at(number, source="/s", *, high=True, seconds=0, **changes):
    return event(number, source, high=high, time_s=NOW_MS / 1000 + seconds, **changes)


class Bench:
    """A judge over a plain dict."""

    def __init__(self, file=None):
        self.table, self.thresholds = {}, load_thresholds(file)
        self.restart()
        self.alerts = []

    def restart(self):
        """As after a crash: nothing is left but the table."""
        self.judge = Judge(State(self.table), self.thresholds)

    def take(self, counts, declared=()):
        new = [alert for one in counts for alert in self.judge.take(one, declared)]
        self.alerts += new
        return [alert.name for alert in new]

    def look(self, now_ms, seen_until_ms=None):
        new = self.judge.look(now_ms, now_ms if seen_until_ms is None else seen_until_ms)
        self.alerts += new
        return [alert.name for alert in new]


@pytest.fixture
def bench():
    return Bench()


def test_a_redelivery_in_other_pieces_and_after_a_restart_counts_nothing_twice(bench):
    values = [at(n) for n in range(19)]
    assert bench.take(counts_of(values)) == []
    bench.restart()
    assert bench.take(counts_of(values[5:12], first=5)) == []
    assert bench.take(counts_of(values[3:], first=3)) == []
    assert bench.take(counts_of([at(19)], first=19)) == ["risk_spike"]
    assert bench.alerts[0].facts["events"] == 20
    bench.restart()
    assert bench.take(counts_of(values)) == []
    assert bench.take(counts_of([at(n) for n in range(20, 40)], first=20)) == []


def test_an_alert_said_before_its_state_was_kept_is_said_again_under_the_same_id(bench):
    bench.take(counts_of([at(n) for n in range(15)]))
    before = dict(bench.table)
    bench.take(counts_of([at(n) for n in range(15, 22)], first=15))
    bench.table.clear()
    bench.table.update(before)
    bench.restart()
    bench.take(counts_of([at(n) for n in range(15, 30)], first=15))
    assert [alert.name for alert in bench.alerts] == ["risk_spike"] * 2
    assert len({alert.id for alert in bench.alerts}) == 1


def test_events_of_a_source_are_counted_over_all_partitions(bench):
    said = [name for p in range(4) for name in bench.take(counts_of([at(n) for n in range(5)], partition=p))]
    assert said == ["risk_spike"]


def test_windows_are_by_event_time_where_it_can_be_believed(bench):
    early, late = [at(n, seconds=-1200) for n in range(10)], [at(n) for n in range(10)]
    assert bench.take(counts_of([*early, *late])) == []
    made_up = [at(n, "/liar", seconds=-86_400 * (2 + n)) for n in range(20)]
    assert bench.take(counts_of(made_up, partition=1)) == ["risk_spike", "clock_skew"]


def test_a_source_that_is_always_risky_is_no_spike_until_it_is_more_than_usual(bench):
    offset = 0
    for window in range(6):
        values = [at(n, seconds=600 * window) for n in range(15)]
        kafka_ms = NOW_MS + 600_000 * window
        bench.take(counts_of(values, first=offset, kafka_ms=kafka_ms, taken_ms=kafka_ms))
        offset += 15
    last = NOW_MS + 3_600_000
    values = [at(n, seconds=3600) for n in range(44)]
    assert bench.take(counts_of(values, first=offset, kafka_ms=last, taken_ms=last)) == []
    values = [at(n, seconds=3600) for n in range(44, 46)]
    assert bench.take(counts_of(values, first=offset + 44, kafka_ms=last, taken_ms=last)) == ["risk_spike"]


def test_a_declared_backfill_counts_as_one_whole_and_an_undeclared_one_as_any_event(bench):
    old = [at(n, seconds=-86_400 * n, backfill="b-1") for n in range(30)]
    assert bench.take(counts_of(old), declared={"b-1"}) == ["backfill"]
    assert bench.take(counts_of([at(n, "/x", backfill="b-2") for n in range(30)], partition=1)) == [
        "risk_spike",
        "undeclared_backfill",
    ]


def test_dead_letters_alert_by_number_and_share(bench):
    fine = [at(n, high=False) for n in range(400)]
    assert bench.take(counts_of([*fine, *[b"?"] * 15])) == []
    assert bench.take(counts_of([b"?"] * 10, first=415)) == ["dead_letters"]
    assert bench.alerts[0].facts["messages"] == 425
    assert bench.take(counts_of([b"?"] * 10, first=415)) == []


def test_only_a_source_that_kept_sending_is_missed_and_only_when_all_is_counted(bench):
    hours = 3600_000
    for step in range(15):
        taken = NOW_MS + step * 10 * MINUTE
        bench.take(counts_of([at(n, high=False) for n in range(10)], first=10 * step, taken_ms=taken))
    bench.take(counts_of([at(1, "/once", high=False)], partition=1, taken_ms=NOW_MS))
    end = NOW_MS + 140 * MINUTE
    assert bench.look(end + 59 * MINUTE) == []
    assert bench.look(end + 10 * hours, seen_until_ms=end + 59 * MINUTE) == []
    assert bench.look(end + hours) == ["silent_source"]
    bench.restart()
    assert bench.look(end + 2 * hours) == []
    bench.take(counts_of([at(1, high=False)], first=150, taken_ms=end + 3 * hours))
    assert bench.look(end + 5 * hours) == []  # it has been silent for three hours before
    assert bench.look(end + 9 * hours) == ["silent_source"]
    assert len({alert.id for alert in bench.alerts}) == 2


def test_what_comes_again_is_no_sign_of_life(bench):
    values = [at(n, high=False) for n in range(100)]
    bench.take(counts_of(values[:1]))
    bench.take(counts_of(values[1:], first=1, taken_ms=NOW_MS + 60 * MINUTE))
    bench.take(counts_of(values, taken_ms=NOW_MS + 200 * MINUTE))
    assert bench.look(NOW_MS + 180 * MINUTE + 1) == ["silent_source"]


def test_gaps_are_told_after_the_grace_together_and_once(bench):
    numbers = [1, 2, 4, 5, 9]
    bench.take(counts_of([at(n, high=False, sequence=str(n)) for n in numbers]))
    assert bench.look(NOW_MS + MINUTE) == []
    bench.take(counts_of([at(3, high=False, sequence="3")], partition=1))
    assert bench.look(NOW_MS + MINUTE + 1) == ["sequence_gap"]
    assert bench.alerts[0].facts == {"source": "/s", "missing": 3, "numbers": "6-8"}
    bench.restart()
    assert bench.look(NOW_MS + 100 * MINUTE) == []


def test_a_redelivery_over_a_new_beginning_opens_no_gap(bench):
    first = [at(n, high=False, seconds=n, sequence=str(n)) for n in range(1, 6)]
    second = [at(10 + n, high=False, seconds=10 + n, sequence=str(n)) for n in range(1, 4)]
    bench.take(counts_of([*first, *second]))
    bench.take(counts_of([*first, *second][2:], first=2))
    bench.take(counts_of([at(20, high=False, seconds=20, sequence="4")], first=8))
    assert bench.look(NOW_MS + 10 * MINUTE) == []


def test_a_sequence_knows_what_is_missing_whatever_the_order():
    sequence = Sequence(5, 5, 100)
    for number in (9, 6, 3, 8):
        sequence.take(number, number, 50, 7)
    assert in_words(sequence.gaps) == "4, 7"
    sequence.take(4, 7, 60, 8)
    assert sequence.gaps == []
    assert (sequence.first, sequence.top) == (3, 9)


def test_a_sequence_that_is_not_dense_is_held_to_a_bound():
    sequence = Sequence(1, 1, 0)
    for number in range(2, 4000, 2):
        sequence.take(number * 10, number * 10, number, number)
    assert len(sequence.gaps) <= 256
    assert " of 2-" in in_words(sequence.gaps, 1)
    assert sum(gap.missing for gap in sequence.gaps) == 39_980 - 1 - 1999
    assert isinstance(sequence.gaps[0], Gap)


def test_the_state_is_bounded_and_old_windows_are_forgotten(bench, monkeypatch):
    monkeypatch.setattr("services.enricher.alerting.state.MOST_SOURCES", 20)
    bench.take(counts_of([at(n, f"/s{n}") for n in range(50)]))
    bench.look(NOW_MS)
    assert sum(key.startswith(b"s|") for key in bench.table) == 20
    assert any(key.startswith(b"w|risk_spike") for key in bench.table)
    bench.look(NOW_MS + 7 * 86_400_000)
    assert not any(key.startswith(b"w|") for key in bench.table)


def test_names_that_events_chose_break_no_line_and_no_quotes(bench):
    bench.take(counts_of([at(n, 'a"\r\nBcc: x') for n in range(20)]))
    text = bench.alerts[0].text
    assert "\n" not in text
    assert "\"a'" in text


def test_a_backfill_is_named_by_extension_or_header():
    assert backfill_of(at(1, backfill="b"), ()) == "b"
    assert backfill_of(b'{"backfill":"data of a bare event"}', ()) == ""
    assert backfill_of(b'{"event_type":"t","event_data":{},"backfill":"b"}', ()) == "b"
    assert backfill_of(b'{"x":1}', (("backfill", b"b"),)) == "b"
    assert backfill_of(None, (("ce_backfill", b"b"),)) == "b"
    assert backfill_of(at(1, data={"backfill": "within"}), ()) == ""


def test_counts_stay_below_the_limit_of_the_topic_even_where_each_event_has_a_source_of_its_own():
    values = [at(n, "piperoll/" + "é" * 2000 + str(n), sequence=str(2 * n + 1)) for n in range(1000)]
    made = counts_of(values)
    assert [(one.first, one.last) for one in made] == [(0, 499), (500, 999)]
    assert max(len(msgspec.json.encode(one)) for one in made) < 1_000_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("risk_spikes: {}", "no kind 'risk_spikes'; there are risk_spike,"),
        ("risk_spike: {window: 10}", "risk_spike.window"),
        ("risk_spike: {event: 1}", "unknown field `event`"),
        ("risk_spike: {events: 0}", "risk_spike.events must be at least 1"),
        ("risk_spike: {severity: grave}", "Invalid enum value 'grave'"),
        ("silent_source: {sources: {billing: often}}", "billing: 'often' is no duration"),
        ("- a list", "kinds of alerts with their keys"),
        ("a: [", "not YAML"),
    ],
)
def test_a_wrong_thresholds_file_is_refused_with_what_is_wrong(tmp_path, text, said):
    file = tmp_path / "alerts.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        load_thresholds(file)
    assert said in str(refused.value)
    assert str(file) in str(refused.value)


def test_what_a_thresholds_file_leaves_out_stays_as_shipped(tmp_path):
    file = tmp_path / "alerts.yaml"
    file.write_text("risk_spike: {events: 5}\nsilent_source: {sources: {billing: 15m, toy: never}}")
    made = load_thresholds(file)
    assert (made.risk_spike.events, made.risk_spike.window) == (5, 600_000)
    assert made.silent_source.by_producer() == {
        producer_id("billing").hex(): ("billing", 900_000),
        producer_id("toy").hex(): ("toy", None),
    }


def test_kinds_that_are_switched_off_say_nothing(tmp_path):
    file = tmp_path / "alerts.yaml"
    kinds = Bench().thresholds.__struct_fields__
    file.write_text("\n".join(f"{kind}: {{enabled: false}}" for kind in kinds))
    bench = Bench(file)
    values = [at(n, "piperoll/x", seconds=3600, sequence=str(2 * n), backfill="b") for n in range(60)]
    assert bench.take(counts_of([*values, *[b"?"] * 60])) == []
    assert bench.take(counts_of(values, partition=1), declared={"b"}) == []
    assert bench.look(NOW_MS + 86_400_000) == []
