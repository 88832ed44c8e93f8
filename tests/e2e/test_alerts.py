"""From a burst of events to the message that somebody gets, and to the record that stays."""

import json

from schemas.commitment import decode_body
from tests.alerting import QUICK, Alerts, event
from tests.fault import feeder
from tests.standins.receivers import Webhook

OWN = "SELECT p.body FROM audit.record r JOIN audit.payload p USING (chain_no, seq) WHERE r.kind = 8 ORDER BY r.seq"


def test_a_burst_a_conflict_and_a_kill_are_told_once_and_recorded_once(pipeline, start_service):
    hook, alerts = Webhook(), Alerts(pipeline.kafka)
    try:
        alerter = start_service("enricher", "alerter", **QUICK).wait_ready()
        target = {"ALERT_WEBHOOK_URL": hook.url, "ALERT_DIGEST_SECONDS": "1"}
        start_service("reporter", "serve", **target).wait_ready()
        alerts.send(*(event(n) for n in range(25)))
        alerts.until("risk_spike")
        alerter.kill()
        start_service("enricher", "alerter", **QUICK).wait_ready()
        alerts.send(*(event(n) for n in range(25, 45)))
        same = [event(7, "/apps/twice", high=False, note=str(n)) for n in range(3)]
        alerts.send(*same, partition=0)
        alerts.until("identity_conflict")
        feeder.wait_until(
            lambda: (
                {alert["name"] for digest in hook.digests for alert in digest["alerts"]}
                == {"risk_spike", "identity_conflict"}
            ),
            what="both alerts at the webhook",
        )
        delivered = len(hook.digests)
        feeder.wait_until(
            lambda: len(pipeline.rows(OWN)) >= 2 + delivered, what="alerts and deliveries recorded"
        )
        own = [json.loads(decode_body(body).value) for (body,) in pipeline.rows(OWN)]
        assert sorted(said["type"] for said in own) == ["alert"] * 2 + ["delivery"] * delivered
        assert {said["data"]["name"] for said in own if said["type"] == "alert"} == {
            "risk_spike",
            "identity_conflict",
        }
        assert len(alerts.all()) == 2
        pipeline.wait_recorded(48)
        pipeline.assert_verified()
    finally:
        alerts.close()
        hook.close()
