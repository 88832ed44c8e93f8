"""Whatever is killed or joins: each event is enriched once, and each alert said once."""

import time

import pytest

from tests.alerting import QUICK, Alerts, event, thresholds
from tests.fault import feeder
from tests.fault.oracle import assert_every_event_once

SMALL = QUICK | {"ENRICHER_BATCH_EVENTS": "20"}
KINDS = {
    "risk_spike": {"window": "1d", "events": 60, "factor": 0},
    "tag_spike": {"enabled": False},
    "sequence_gap": {"grace": "20s", "pause": "1s"},
}
EACH = 40
RULES = """title: Model asked
name: asked
logsource: {product: piperoll, service: catalog}
detection: {selection: {ce.type: model_inference}, condition: selection}
level: informational
---
title: Model asked much
id: 5f113a8f-8b61-41ca-b90f-00000000000d
level: medium
name: much
correlation: {type: event_count, rules: [asked], group-by: [ce.source], timespan: 1d, condition: {gte: 70}}
---
title: All models asked much
id: 5f113a8f-8b61-41ca-b90f-00000000000e
level: high
correlation: {type: value_count, rules: [much], timespan: 1d, condition: {field: ce.source, gte: 5}}
"""


@pytest.fixture
def alerts(kafka):
    made = Alerts(kafka)
    yield made
    made.close()


@pytest.fixture
def path(tmp_path):
    return thresholds(tmp_path, **KINDS)


@pytest.fixture
def rules(tmp_path):
    """Settings of an enricher with a correlation rule."""
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "asked.yml").write_text(RULES)
    return SMALL | {"RULES_DIR": str(folder)}


def portion(turn):
    """Some events of high risk from each of five sources, with sequence numbers, one of which is missing."""
    numbers = [n for n in range(turn * EACH + 1, (turn + 1) * EACH + 1) if n != 50]
    return [event(n, f"/apps/{s}", sequence=str(n)) for n in numbers for s in range(5)]


def until_counted(alerts):
    """Until all that was sent is enriched and counted."""
    feeder.wait_drained(alerts.kafka)
    feeder.wait_until(lambda: len(alerts.of("sequence_gap")) >= 5, timeout=90, what="all gaps told")


def assert_said_once(alerts):
    for name in ("risk_spike", "sequence_gap"):
        said = alerts.of(name)
        assert sorted(alert["facts"]["source"] for alert in said) == [f"/apps/{s}" for s in range(5)], name
    found = [alert["facts"] for alert in alerts.of("correlation")]
    groups = sorted(facts["group"]["ce.source"] for facts in found if facts["group"])
    assert groups == [f"/apps/{s}" for s in range(5)]
    assert [facts["title"] for facts in found if not facts["group"]] == ["All models asked much"]
    assert {alert["facts"]["numbers"] for alert in alerts.of("sequence_gap")} == {"50"}
    assert {alert["facts"]["missing"] for alert in alerts.of("sequence_gap")} == {1}
    assert len(alerts.all()) == 16
    alerts.assert_each_once()


@pytest.mark.long
@pytest.mark.timeout(400)
def test_kill_9_of_enricher_and_alerter_in_mid_flow_doubles_no_alert(alerts, path, rules, start_service):
    enricher = start_service("enricher", **rules).wait_ready()
    alerter = start_service("enricher", "alerter", **SMALL, ALERTS_FILE=path).wait_ready()
    for turn in range(6):
        alerts.send(*portion(turn))
        if turn % 2:
            enricher.kill()
            enricher = start_service("enricher", **rules)
        else:
            time.sleep(0.2 * turn)
            alerter.kill()
            alerter = start_service("enricher", "alerter", **SMALL, ALERTS_FILE=path)
    until_counted(alerts)
    assert_every_event_once(alerts.kafka)
    assert_said_once(alerts)


@pytest.mark.timeout(400)
def test_alerters_that_come_and_go_double_no_alert(alerts, path, rules, start_service):
    start_service("enricher", **rules).wait_ready()
    start_service("enricher", "alerter", **SMALL, ALERTS_FILE=path).wait_ready()
    for turn in range(6):
        guest = start_service("enricher", "alerter", **SMALL, ALERTS_FILE=path)
        alerts.send(*portion(turn))
        if turn % 2:
            guest.wait_ready()
        guest.kill() if turn % 3 else guest.stop()
    until_counted(alerts)
    assert_said_once(alerts)
