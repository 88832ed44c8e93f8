"""The reporter as a service: alerts from a real broker to a webhook and a mail server, each once, floods as one."""

import hmac
import time

import httpx
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from services.common.alerts import Alert, as_message
from services.common.kafka import client_options
from tests.alerting import Alerts
from tests.certificates import Authority
from tests.fault.feeder import wait_committed, wait_until
from tests.standins.receivers import Mailbox, Webhook

SECRET = "a shared secret"
SOON = {"ALERT_DIGEST_SECONDS": "1"}


@pytest.fixture
def hook():
    made = Webhook()
    yield made
    made.close()


@pytest.fixture
def authority():
    return Authority("alerts test")


@pytest.fixture
def authority_file(authority, tmp_path):
    path = tmp_path / "authority.pem"
    path.write_text(authority.certificate)
    return str(path)


@pytest.fixture
def mailbox(authority, tmp_path):
    pair = authority.sign("mail", addresses=("127.0.0.1",))
    made = Mailbox(*pair.save(tmp_path, "mail"))
    yield made
    made.close()


@pytest.fixture
def say(kafka):
    """Puts alerts on audit.alerts."""
    # What one call puts there comes in one batch: its sending waits for the flush.
    producer = KafkaProducer(**client_options(kafka, "tests"), acks="all", linger_ms=10_000)

    def said(*ids, severity="high", text="something happened"):
        for name in ids:
            alert = Alert(name, severity, "risk_spike", text, {"source": "/a"})
            producer.send(
                kafka.topics.alerts, value=as_message(alert, "piperoll/alerter", 1_790_000_000_000_000)
            )
        producer.flush()

    yield said
    producer.close()


def committed(kafka):
    consumer = KafkaConsumer(
        **client_options(kafka, "tests"), group_id=kafka.topics.group("reporter"), enable_auto_commit=False
    )
    found = consumer.committed(TopicPartition(kafka.topics.alerts, 0))
    consumer.close()
    return found


def delivered(kafka, goal):
    wait_committed(kafka, goal, "reporter", kafka.topics.alerts)


def hooked(hook):
    return SOON | {"ALERT_WEBHOOK_URL": hook.url, "ALERT_WEBHOOK_SECRET": SECRET}


def ids(hook):
    return [alert["id"] for digest in hook.digests for alert in digest["alerts"]]


def test_a_flood_is_one_signed_message_and_its_delivery_an_own_event(kafka, start_service, hook, say):
    say(*(f"a{n}" for n in range(150)), *("a1" for _ in range(10)))
    say("low", severity="low")
    reporter = start_service("reporter", "serve", **hooked(hook)).wait_ready()
    delivered(kafka, 161)
    ((headers, body),) = hook.requests
    (digest,) = hook.digests
    assert (digest["count"], len(digest["alerts"]), digest["omitted"]) == (150, 100, 50)
    assert headers["Idempotency-Key"] == digest["id"]
    stamp, made = (part.partition("=")[2] for part in headers["Piperoll-Signature"].split(","))
    assert made == hmac.new(SECRET.encode(), f"{stamp}.".encode() + body, "sha256").hexdigest()
    assert abs(time.time() - int(stamp)) < 60
    with Alerts(kafka) as alerts:
        (own,) = alerts.all(kafka.topics.system)
    assert (own["source"], own["type"], own["data"]["count"]) == ("piperoll/reporter", "delivery", 150)
    assert reporter.stop() == 0, reporter.log()
    assert "secret-in-url" not in reporter.log()
    assert SECRET not in reporter.log()


def test_mail_goes_out_by_tls_with_no_line_of_an_event_in_its_headers(
    kafka, start_service, mailbox, authority_file, say
):
    mailbox.refuse = 1
    say("a1", severity="critical", text="of <b>\r\nBcc: thief@example.org\r\n\r\nhello")
    variables = SOON | {
        "ALERT_SMTP_HOST": "127.0.0.1",
        "ALERT_SMTP_PORT": str(mailbox.port),
        "ALERT_SMTP_USER": Mailbox.USER,
        "ALERT_SMTP_PASSWORD": Mailbox.PASSWORD,
        "ALERT_SMTP_CAFILE": authority_file,
        "ALERT_SMTP_FROM": "piperoll@example.org",
        "ALERT_RECIPIENTS": "ann@example.org, ben@example.org",
    }
    reporter = start_service("reporter", "serve", **variables).wait_ready()
    delivered(kafka, 1)
    (message,) = mailbox.messages
    assert mailbox.recipients == [["ann@example.org", "ben@example.org"]]
    assert message["Subject"] == "Piperoll: critical alert, risk_spike"
    assert message["Bcc"] is None
    assert message["Auto-Submitted"] == "auto-generated"
    assert "Bcc: thief@example.org" in message.get_content().splitlines()[1]
    assert "not_delivered" in reporter.log()  # the server did not take it at first


def test_an_unknown_certificate_is_not_trusted(kafka, start_service, mailbox, say):
    say("a1")
    variables = SOON | {
        "ALERT_SMTP_HOST": "127.0.0.1",
        "ALERT_SMTP_PORT": str(mailbox.port),
        "ALERT_SMTP_FROM": "piperoll@example.org",
        "ALERT_RECIPIENTS": "ann@example.org",
    }
    reporter = start_service("reporter", "serve", **variables).wait_ready()
    wait_until(lambda: "not_delivered" in reporter.log())
    assert "CERTIFICATE_VERIFY_FAILED" in reporter.log()
    assert mailbox.messages == []
    assert committed(kafka) is None


def test_what_was_not_delivered_is_sent_again_after_a_kill_and_what_was_is_not(
    kafka, start_service, hook, say
):
    say("a1", "a2")
    first = start_service("reporter", "serve", **hooked(hook))
    delivered(kafka, 2)
    hook.answers = [503]
    say("a1", "a3")
    wait_until(lambda: len(hook.requests) >= 3)
    assert committed(kafka) == 2
    first.kill()
    hook.answers = [302, 200]
    hook.requests.clear()
    start_service("reporter", "serve", **hooked(hook))
    delivered(kafka, 4)
    assert [[alert["id"] for alert in digest["alerts"]] for digest in hook.digests] == [["a3"], ["a3"]]
    assert len({headers["Idempotency-Key"] for headers, _ in hook.requests}) == 1


def test_of_two_reporters_one_leads_and_the_other_follows_when_it_dies(kafka, start_service, hook, say):
    pair = [start_service("reporter", "serve", **hooked(hook)).wait_ready() for _ in range(2)]
    say("a1")
    delivered(kafka, 1)
    leads = ["piperoll_reporter_leading 1.0" in httpx.get(f"{one.url}/metrics").text for one in pair]
    assert sorted(leads) == [False, True]
    pair[leads.index(True)].kill()
    say("a2")
    delivered(kafka, 2)
    assert ids(hook) == ["a1", "a2"]


def test_without_a_target_alerts_are_logged_and_passed(kafka, start_service, say):
    say("a1")
    reporter = start_service("reporter", "serve", **SOON).wait_ready()
    delivered(kafka, 1)
    assert "something happened" in reporter.log()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"ALERT_WEBHOOK_URL": "ftp://x"}, "ALERT_WEBHOOK_URL must begin with https://"),
        ({"ALERT_SMTP_HOST": "mail.example.org"}, "needs ALERT_RECIPIENTS and ALERT_SMTP_FROM"),
        (
            {
                "ALERT_SMTP_HOST": "mail.example.org",
                "ALERT_SMTP_FROM": "a@example.org",
                "ALERT_RECIPIENTS": "b@example.org",
                "ALERT_SMTP_SECURITY": "none",
            },
            "only: starttls or tls",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused_with_what_to_set(start_service, variables, said):
    refused = start_service("reporter", "serve", **variables)
    assert refused.wait(30) == 2
    assert said in refused.log()
