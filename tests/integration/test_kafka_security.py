"""TLS and sign-in by settings, for every service, on a real broker that wants them."""

import re

import httpx
import pytest

from services.common.broker_access import check_access
from services.common.errors import ConfigurationError, TransientError
from services.common.kafka import create_topics
from services.common.settings import KafkaSettings
from tests import query
from tests.fault import feeder
from tests.secured_broker import PASSWORD, USER, secured_broker

pytestmark = pytest.mark.xdist_group("kafka-security")

CALL = {
    "event_type": "data_export",
    "event_data": {
        "user_id": 42,
        "dataset_id": "ds-99",
        "export_time": "2026-05-01T12:00:00Z",
        "export_reason": "regulator request",
    },
}
WAYS = {
    "scram-over-tls": {"protocol": "SASL_SSL", "mechanism": "SCRAM-SHA-512"},
    "plain-over-tls": {"protocol": "SASL_SSL", "mechanism": "PLAIN"},
    "client-certificate": {"protocol": "SSL", "files": ("certfile", "keyfile")},
    "encrypted-client-key": {"protocol": "SSL", "files": ("locked_certfile", "locked_keyfile")},
    "scram-without-tls": {"protocol": "SASL_PLAINTEXT", "mechanism": "SCRAM-SHA-256"},
}
AI = {"OPENAI_API_KEY": "unused", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
SERVICES = {
    "enricher": (),
    "writer": (),
    "annotator": ("annotator",),
    "alerter": ("alerter",),
    "reporter": ("serve",),
}


@pytest.fixture(scope="module")
def secured(open_folder, guard):
    with secured_broker(open_folder / "secured", guard) as broker:
        yield broker


def settings_of(secured, way: str, prefix: str = "audit") -> KafkaSettings:
    """The settings with which that way in works."""
    protocol = WAYS[way]["protocol"]
    fields = {
        "bootstrap_servers": secured.address(protocol),
        "security_protocol": protocol,
        "topic_prefix": prefix,
        "partitions": 1,
        "session_timeout_ms": 3000,
    }
    if protocol.endswith("SSL"):
        fields["ssl_cafile"] = secured.cafile
    if protocol == "SSL":
        certfile, keyfile = (getattr(secured, name) for name in WAYS[way]["files"])
        fields |= {"ssl_certfile": certfile, "ssl_keyfile": keyfile}
        if way == "encrypted-client-key":
            fields["ssl_key_password"] = secured.locked_key_password
    if protocol.startswith("SASL"):
        fields |= {"sasl_mechanism": WAYS[way]["mechanism"], "sasl_username": USER, "sasl_password": PASSWORD}
    return KafkaSettings(**fields)


@pytest.fixture
def kafka(secured, request) -> KafkaSettings:
    """Stands in for the broker without sign-in; parametrise with the name of a way in."""
    way = getattr(request, "param", "scram-over-tls")
    settings = settings_of(secured, way, f"{way}-{re.sub(r'[^a-z]+', '-', request.node.originalname)[:40]}")
    create_topics(settings)
    return settings


@pytest.fixture
def start(start_service, secured, tmp_path):
    """`start(name, **variables)`: a service whose secrets come as files."""
    password_file = tmp_path / "sasl-password"
    password_file.write_text(PASSWORD + "\n")
    key_password_file = tmp_path / "key-password"
    key_password_file.write_text(secured.locked_key_password + "\n")
    files = {
        "KAFKA_SASL_PASSWORD_FILE": str(password_file),
        "KAFKA_SSL_KEY_PASSWORD_FILE": str(key_password_file),
    }

    def begin(name: str, **variables: str):
        service = "enricher" if name in ("annotator", "alerter") else name
        return start_service(service, *SERVICES.get(name, ()), **(files | AI | variables))

    return begin


@pytest.mark.parametrize("kafka", WAYS, indirect=True)
def test_every_way_in_lets_topics_be_made(kafka):
    assert create_topics(kafka) == []


LONG = pytest.mark.long


@pytest.mark.parametrize(
    "kafka",
    [
        "scram-over-tls",
        pytest.param("plain-over-tls", marks=LONG),
        pytest.param("client-certificate", marks=LONG),
    ],
    indirect=True,
)
def test_an_event_goes_from_http_to_its_record(kafka, database, start):
    names = ["ingest", "enricher", "writer"]
    names += ["annotator", "alerter", "reporter"] if kafka.sasl_mechanism == "SCRAM-SHA-512" else []
    services = [start(name) for name in names]
    for service in services:
        service.wait_ready(60)
    answer = httpx.post(f"{services[0].url}/audit?wait=20", json=CALL, timeout=30)
    assert answer.status_code == 200, answer.text
    assert "42" in answer.json()["summary"]
    feeder.wait_until(
        lambda: query.value(database.reporter_dsn, "SELECT count(*) FROM audit_events") == 1,
        what="the record of the event",
    )
    for service in services:
        assert service.stop() == 0, service.log()
        assert PASSWORD not in service.log()


def test_a_wrong_password_is_said_with_its_settings_and_never_shown(kafka, database, start):
    wrong = {"KAFKA_SASL_PASSWORD": "not-the-one", "KAFKA_SASL_PASSWORD_FILE": ""}
    ingest = start("ingest", **wrong)
    services = [start(name, **wrong) for name in SERVICES]
    for service in services:
        assert service.wait(40) == 2, service.log()
    feeder.wait_until(lambda: "broker_refuses_us" in ingest.log())
    assert "the log says which settings" in httpx.get(f"{ingest.url}/readyz").text
    assert httpx.post(f"{ingest.url}/audit", json=CALL).status_code == 503
    for service in (ingest, *services):
        assert "KAFKA_SASL_PASSWORD" in service.log()
        assert "not-the-one" not in service.log()
    assert ingest.stop() == 0


def test_a_broker_whose_certificate_another_authority_signed_is_not_talked_to(
    kafka, database, start, secured
):
    other = {"KAFKA_SSL_CAFILE": str(secured.other_cafile)}
    ingest = start("ingest", **other)
    for service in [start(name, **other) for name in ("enricher", "writer")]:
        assert service.wait(40) == 2, service.log()
        assert "KAFKA_SSL_CAFILE" in service.log()
    feeder.wait_until(lambda: "broker_refuses_us" in ingest.log())
    assert "KAFKA_SSL_CAFILE" in ingest.log()


WRONG = {
    "another authority": ("client-certificate", {"ssl_cafile": "other_cafile"}, "KAFKA_SSL_CAFILE"),
    "a client certificate of another authority": (
        "client-certificate",
        {"ssl_certfile": "other_certfile", "ssl_keyfile": "other_keyfile"},
        "KAFKA_SSL_CERTFILE",
    ),
    "no client certificate": (
        "client-certificate",
        {"ssl_certfile": None, "ssl_keyfile": None},
        "KAFKA_SSL_CERTFILE",
    ),
    "a key of another certificate": (
        "client-certificate",
        {"ssl_keyfile": "other_keyfile"},
        "KAFKA_SSL_KEYFILE",
    ),
    "an encrypted key without its password": (
        "encrypted-client-key",
        {"ssl_key_password": None},
        "KAFKA_SSL_KEY_PASSWORD",
    ),
    "a key without its certificate": ("client-certificate", {"ssl_certfile": None}, "KAFKA_SSL_CERTFILE"),
    "a wrong password of PLAIN": ("plain-over-tls", {"sasl_password": "x"}, "KAFKA_SASL_PASSWORD"),
    "a wrong password of SCRAM": ("scram-over-tls", {"sasl_password": "x"}, "KAFKA_SASL_PASSWORD"),
    "an unknown user": ("scram-without-tls", {"sasl_username": "nobody"}, "KAFKA_SASL_USERNAME"),
    "no password": ("scram-over-tls", {"sasl_password": None}, "KAFKA_SASL_PASSWORD"),
    "TLS missing": ("scram-over-tls", {"security_protocol": "SASL_PLAINTEXT"}, "SASL_SSL"),
    "nothing but the address": ("client-certificate", {"security_protocol": "PLAINTEXT"}, "speaks TLS"),
    "no port": ("scram-over-tls", {"bootstrap_servers": "127.0.0.1:kafka"}, "host:port"),
}


@pytest.mark.parametrize("case", WRONG)
def test_each_wrong_setting_is_named(secured, case):
    way, changes, named = WRONG[case]
    files = {name: getattr(secured, text) for name, text in changes.items() if hasattr(secured, str(text))}
    settings = KafkaSettings(**(settings_of(secured, way).model_dump() | changes | files))
    with pytest.raises(ConfigurationError, match=named):
        check_access(settings)


@pytest.mark.parametrize(
    ("way", "listener"),
    [
        ("scram-over-tls", "SASL_PLAINTEXT"),
        ("client-certificate", "SASL_SSL"),
        ("client-certificate", "SASL_PLAINTEXT"),
    ],
)
def test_a_listener_of_another_protocol_is_told_by_its_silence(secured, way, listener):
    settings = settings_of(secured, way).model_copy(update={"bootstrap_servers": secured.address(listener)})
    with pytest.raises(TransientError, match="KAFKA_SECURITY_PROTOCOL"):
        check_access(settings)


def test_a_mechanism_that_the_listener_does_not_take_is_answered_with_those_that_it_takes(secured):
    settings = settings_of(secured, "scram-without-tls").model_copy(
        update={"bootstrap_servers": secured.broker.address}
    )
    with pytest.raises(ConfigurationError, match="KAFKA_SASL_MECHANISM=SCRAM-SHA-256: it takes none there"):
        check_access(settings)


def test_where_nobody_listens_clients_wait_for_a_broker():
    check_access(KafkaSettings(bootstrap_servers="127.0.0.1:1"))
