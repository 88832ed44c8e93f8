"""Enricher and alerter on a real broker: what is wrong is said once, what is not is not said."""

import time

import httpx
import pytest

from tests.alerting import QUICK, Alerts, event, thresholds


@pytest.fixture
def alerts(kafka):
    made = Alerts(kafka)
    yield made
    made.close()


@pytest.fixture
def start(start_service, tmp_path):
    """Starts enricher and alerter, both ready."""

    def started(**kinds):
        enricher = start_service("enricher", **QUICK)
        alerter = start_service("enricher", "alerter", **QUICK, ALERTS_FILE=thresholds(tmp_path, **kinds))
        return enricher.wait_ready(), alerter.wait_ready()

    return started


def test_a_burst_of_high_risk_over_all_partitions_is_one_alert_on_both_topics(start, alerts):
    start()
    alerts.send(*(event(n) for n in range(30)), *(event(n, "/apps/calm", high=False) for n in range(30)))
    (spike,) = alerts.until("risk_spike")
    assert spike["severity"] == "high"
    assert spike["source"] == "piperoll/alerter"
    assert spike["facts"]["source"] == "/apps/model"
    assert spike["facts"]["events"] >= 20
    alerts.send(*(event(n) for n in range(100, 130)))
    alerts.send(event(500, "piperoll/writer"))
    (reserved,) = alerts.until("reserved_source")
    assert reserved["facts"]["source"] == "piperoll/writer"
    assert len(alerts.of("risk_spike")) == 1
    alerts.assert_each_once()


def test_a_tag_on_many_grave_events_of_many_sources_is_an_alert(start, alerts):
    start(tag_spike={"events": 12, "except_tags": ["model:inference"]})
    alerts.send(*(event(n, f"/apps/{n}") for n in range(12)))
    tags = {alert["facts"]["tag"] for alert in alerts.until("tag_spike", 2)}
    assert "model:prompt-injection" in tags
    assert "model:inference" not in tags
    assert not alerts.of("risk_spike")


def test_a_source_that_falls_silent_is_said_and_one_that_goes_on_is_not(start, alerts):
    start(silent_source={"after": "4s", "events": 5})
    for turn in range(30):
        alerts.send(event(turn, "/talks", high=False))
        if turn < 12:
            alerts.send(event(turn, "/stops", high=False))
        time.sleep(0.5)
    (silent,) = alerts.until("silent_source")
    assert silent["facts"]["source"] == "/stops"


def test_no_source_is_silent_while_the_enricher_is_away(start, alerts):
    enricher, _ = start(silent_source={"after": "3s", "events": 3})
    for turn in range(10):
        alerts.send(event(turn, "/talks", high=False))
        time.sleep(0.5)
    enricher.kill()
    for turn in range(14):
        alerts.send(event(100 + turn, "/talks", high=False))
        time.sleep(0.5)
    assert not alerts.of("silent_source")


def test_a_source_that_is_named_is_expected_though_it_never_sent(start, alerts):
    start(silent_source={"sources": {"billing": "1s", "toy": "never"}})
    alerts.send(event(1, high=False))
    (silent,) = alerts.until("silent_source")
    assert silent["facts"]["source"] == "billing"


def test_missing_sequence_numbers_are_named_and_late_ones_are_not(start, alerts):
    start(sequence_gap={"grace": "3s", "pause": "1s"})
    numbers = [n for n in range(1, 40) if n not in (7, 20, 21, 30)]
    alerts.send(*(event(n, "/counts", high=False, sequence=str(n)) for n in numbers))
    alerts.send(event(30, "/counts", high=False, sequence="30"))
    (gap,) = alerts.until("sequence_gap")
    assert gap["facts"] == {"source": "/counts", "missing": 3, "numbers": "7, 20-21"}


def test_a_clock_that_is_wrong_is_said_once_for_its_source(start, alerts):
    start()
    alerts.send(*(event(n, "/ahead", high=False, time_s=time.time() + 3600) for n in range(3)))
    alerts.send(*(event(n, "/right", high=False) for n in range(3)))
    (skew,) = alerts.until("clock_skew")
    assert skew["facts"]["source"] == "/ahead"
    assert 3500 < skew["facts"]["apart_seconds"] <= 3600


def test_many_unreadable_messages_are_an_alert(start, alerts):
    start()
    alerts.send(*(event(n, high=False) for n in range(20)))
    alerts.send(*(b"no json" for _ in range(10)))
    (letters,) = alerts.until("dead_letters")
    assert letters["facts"]["events"] == 10
    assert 10 < letters["facts"]["messages"] <= 30


def test_declared_backfills_count_apart_and_undeclared_ones_do_not_hide(start, alerts):
    start()
    old = time.time() - 30 * 86_400
    alerts.declare("backfill-1")
    alerts.send(*(event(n, "/old", time_s=old + n, backfill="backfill-1") for n in range(40)))
    (told,) = alerts.until("backfill")
    assert (told["severity"], told["facts"]["backfill"]) == ("low", "backfill-1")
    assert not alerts.of("risk_spike")
    assert not alerts.of("clock_skew")
    alerts.send(*(event(n, "/sly", backfill="made-up") for n in range(40)))
    (spike,) = alerts.until("risk_spike")
    assert spike["facts"]["source"] == "/sly"
    (undeclared,) = alerts.until("undeclared_backfill")
    assert undeclared["facts"]["backfill"] == "made-up"


def test_what_models_cost_fail_and_disagree_is_told_from_the_record_and_once(start, alerts, kafka):
    """By whichever service asked; what anybody but Piperoll says of itself does not count; a killed alerter goes on."""

    def asked(number, outcome, source="piperoll/reporter", **data):
        facts = {
            "model": "m",
            "outcome": outcome,
            "tokens_in": 900,
            "tokens_out": 100,
            "cost_usd": 0.01,
        } | data
        return event(number, source, type="model_inference", data=facts)

    span = {"window": "1d", "history": 0}
    _, alerter = start(
        ai_spend=span | {"requests": 30}, ai_failures={"window": "1d", "requests": 25}, ai_disagreement=span
    )
    alerts.wait_looked()
    alerts.record(*(asked(n, "away") for n in range(20)), *(asked(n, "away", "/mallory") for n in range(20)))
    alerter.kill()
    _, alerter = start(
        ai_spend=span | {"requests": 30}, ai_failures={"window": "1d", "requests": 25}, ai_disagreement=span
    )
    readings = {"readings": 100, "apart": 60}
    alerts.record(
        *(asked(n, "answered") for n in range(20, 30)),
        event(1, "piperoll/annotator", type="piperoll.annotator.readings", data=readings),
    )
    (failures,) = alerts.until("ai_failures")
    assert (failures["facts"]["why"], failures["source"]) == ("away", "piperoll/alerter")
    (spend,) = alerts.until("ai_spend")
    assert (spend["facts"]["requests"], spend["facts"]["dollars"]) == (30, 0.3)
    (apart,) = alerts.until("ai_disagreement")
    assert (apart["facts"]["readings"], apart["facts"]["apart"]) == (100, 60)
    alerts.assert_each_once()


def test_wrong_thresholds_are_refused_with_what_to_do(start_service, tmp_path):
    path = thresholds(tmp_path, risk_spike={"window": "soon"})
    refused = start_service("enricher", "alerter", ALERTS_FILE=path)
    assert refused.wait(30) == 2
    assert "'soon' is no duration: 30s, 10m, 24h or 7d, say" in refused.log()
    assert "risk_spike.window" in refused.log()


def test_metrics_say_what_was_counted(start, alerts):
    _, alerter = start()
    alerts.send(*(event(n) for n in range(30)))
    alerts.until("risk_spike")
    text = httpx.get(f"{alerter.url}/metrics").text
    assert 'piperoll_alerter_alerts_total{name="risk_spike"} 1.0' in text
    assert alerter.stop() == 0, alerter.log()
