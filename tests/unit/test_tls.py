"""What settings say of TLS."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from services.common.errors import ConfigurationError
from services.common.settings import KafkaSettings
from services.common.tls import is_loopback, is_private
from services.ingest.certificate import Certificate
from services.ingest.settings import IngestSettings, check_settings
from services.reporter.deliver.editions.settings import ReportDeliverySettings
from tests.certificates import Authority

AUTHORITY = Authority("tests")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("example", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_only_this_machine_reaches_loopback(host, loopback):
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("url", "private"),
    [
        ("https://s3.example.org", True),
        ("http://127.0.0.1:9000", True),
        ("http://[::1]:9000/x", True),
        ("http://s3.example.org", False),
        ("http://127.0.0.1@s3.example.org", False),
        ("ftp://127.0.0.1", False),
        ("https://", False),
        ("s3.example.org", False),
    ],
)
def test_what_leaves_this_machine_goes_by_tls(url, private):
    assert is_private(url) is private
    if private:
        assert ReportDeliverySettings(REPORT_S3_ENDPOINT=url).s3_endpoint == url
    else:
        with pytest.raises(ValueError, match="REPORT_S3_ENDPOINT"):
            ReportDeliverySettings(REPORT_S3_ENDPOINT=url)


@pytest.mark.parametrize(
    ("variables", "in_clear"),
    [
        ({}, False),
        ({"INGEST_HOST": "0.0.0.0"}, True),
        ({"INGEST_HOST": "0.0.0.0", "INGEST_REQUIRE_KEY": "false"}, True),
        ({"INGEST_HOST": "0.0.0.0", "INGEST_BEHIND_TLS": "true"}, False),
        ({"INGEST_HOST": "0.0.0.0", "INGEST_SSL_CERTFILE": "c.pem"}, False),
    ],
)
def test_others_could_read_along_beyond_loopback_without_tls(variables, in_clear):
    assert IngestSettings(**variables).in_clear is in_clear


def test_a_key_without_a_certificate_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="INGEST_SSL_CERTFILE"):
        check_settings(IngestSettings(INGEST_SSL_KEYFILE=tmp_path / "k"), KafkaSettings())


def test_a_certificate_that_the_server_could_not_use_is_refused(tmp_path):
    certificate, key = AUTHORITY.sign("ingest").save(tmp_path, "ingest")
    until = Certificate(certificate, key).pair.until
    assert timedelta(days=1) < until - datetime.now(UTC) < timedelta(days=3)
    both = tmp_path / "both.pem"
    both.write_text(key.read_text() + certificate.read_text())
    assert Certificate(both, None).pair.until == until
    _, other = AUTHORITY.sign("other").save(tmp_path, "other")
    locked, locked_key = AUTHORITY.sign("locked", password="x").save(tmp_path, "locked")
    odd = ec.generate_private_key(ec.SECP521R1())
    odd_key = tmp_path / "odd.key"
    odd_key.write_bytes(odd.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    odd_certificate = tmp_path / "odd.pem"
    odd_certificate.write_text(AUTHORITY.sign("odd", key=odd).certificate)
    for file, its_key, said in (
        (certificate, other, "another key"),
        (tmp_path / "none.pem", key, "none.pem"),
        (certificate, certificate, "belong together"),
        (locked, locked_key, "key not encrypted"),
        (odd_certificate, odd_key, "P-256"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            Certificate(file, its_key)


def test_a_renewed_certificate_is_taken_once_it_can_be_used(tmp_path):
    certificate, key = AUTHORITY.sign("ingest").save(tmp_path, "ingest")
    watched = Certificate(certificate, key)
    assert not watched.renewed()
    new = AUTHORITY.sign("ingest")
    certificate.write_text(new.certificate)  # and the key comes a moment later
    assert not watched.renewed()
    key.write_text(new.key)
    assert watched.renewed()
    assert not watched.renewed()
    key.chmod(0o640)
    assert watched.renewed()  # whatever was wrong with it may be right now
    key.unlink()
    assert not watched.renewed()
