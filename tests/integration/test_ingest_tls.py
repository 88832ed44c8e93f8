"""Ingest over TLS, with a certificate that is renewed while it serves."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx
import pytest

from services.common.settings import KafkaSettings
from tests.certificates import Authority
from tests.ingest_parts import SHORT, ingest_on, messages, topics_on, until

AUTHORITY = Authority("tests")


@pytest.fixture
def certificate(tmp_path):
    (tmp_path / "ca.pem").write_text(AUTHORITY.certificate)
    _replace(tmp_path, "first")
    for name in ("ingest.pem", "ingest.key"):
        (tmp_path / name).symlink_to(f"data/{name}")
    return {
        "INGEST_SSL_CERTFILE": str(tmp_path / "ingest.pem"),
        "INGEST_SSL_KEYFILE": str(tmp_path / "ingest.key"),
    }


def _replace(tmp_path, name):
    """As Kubernetes does: a new folder, a link turned to it, the old folder removed."""
    (tmp_path / name).mkdir()
    AUTHORITY.sign(name, addresses=("127.0.0.1",)).save(tmp_path / name, "ingest")
    link, before = tmp_path / "data", (tmp_path / "data").resolve()
    (tmp_path / "new").symlink_to(name)
    (tmp_path / "new").replace(link)
    if before != link:
        shutil.rmtree(before)


def _subject(port, tmp_path, version=None):
    context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    if version is not None:
        context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as connection,
    ):
        return connection.getpeercert()["subject"][0][0][1]


@contextmanager
def _who_never_reads(port, tmp_path):
    """A client that asks and asks, and leaves all answers where they are."""
    context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    with (
        socket.create_connection(("127.0.0.1", port), timeout=2) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as connection,
    ):
        with suppress(OSError):
            while True:
                connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        yield


def test_a_renewed_certificate_is_taken_and_nobody_is_cut_off(broker, tmp_path, certificate):
    kafka = topics_on(broker)
    trusted = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    with ThreadPoolExecutor(2) as pool, ingest_on(kafka, tmp_path, **certificate) as ingest:
        port = ingest.service.port
        assert _subject(port, tmp_path) == _subject(port, tmp_path, ssl.TLSVersion.TLSv1_2) == "first"
        expires = ingest.metric("piperoll_ingest_certificate_not_after_timestamp_seconds")
        assert 86_400 < expires - time.time() < 3 * 86_400
        waiting = pool.submit(ingest.client.post, "/audit?wait=12", json=SHORT, timeout=60)
        accepted, renewed = [], []

        def send() -> None:
            while not renewed:
                identifier = f"e-{len(accepted)}"
                with httpx.Client(base_url=ingest.service.url, verify=trusted, timeout=30) as client:
                    answer = client.post("/audit?wait=0", json=SHORT | {"id": identifier})
                assert answer.status_code == 202
                accepted.append(identifier)

        sending = pool.submit(send)
        until(lambda: len(accepted) > 5)
        _replace(tmp_path, "second")
        until(lambda: [_subject(port, tmp_path) for _ in range(8)] == ["second"] * 8, 30)
        renewed.append(True)
        sending.result()
        assert waiting.result().status_code == 202
        (tmp_path / "second" / "ingest.key").write_text("no key")
        until(lambda: "keep_old_certificate" in ingest.service.log(), 10)
        assert _subject(port, tmp_path) == "second"
        with _who_never_reads(port, tmp_path):
            for name in ("third", "fourth"):
                _replace(tmp_path, name)
                until(lambda name=name: [_subject(port, tmp_path) for _ in range(8)] == [name] * 8, 30)
        assert ingest.post("/audit?wait=0", json=SHORT).status_code == 202
        found = [json.loads(message.value).get("id") for message in messages(kafka, kafka.topics.events)]
        assert [identifier for identifier in found if identifier in accepted] == accepted
        assert ingest.service.stop() == 0


def test_events_are_sent_by_the_command_and_a_probe_finds_it_ready(broker, tmp_path, certificate):
    with ingest_on(topics_on(broker), tmp_path, **certificate) as ingest:
        port = str(ingest.service.port)
        environ = os.environ | {"INGEST_PORT": port, "HEALTH_PORT": "9", "PIPEROLL_HOME": str(tmp_path)}

        def run(module, *arguments, **variables):
            command = [sys.executable, "-m", module, *arguments]
            return subprocess.run(
                command,
                input=json.dumps(SHORT),
                env=environ | variables,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )

        probe = run("services.common.probe", "ingest")
        assert (probe.returncode, probe.stdout) == (0, "")
        away = run("services.common.probe", "ingest", INGEST_PORT="9")
        assert (away.returncode, away.stdout.count("refused")) == (1, 2)
        assert run("services.common.probe", "writer").returncode == 1  # its own port is another
        emit = "services.cli", "emit", "--http", "-"
        url = {"INGEST_URL": ingest.service.url}
        unknown = run(*emit, **url)
        assert unknown.returncode != 0
        assert "CERTIFICATE_VERIFY_FAILED" in unknown.stdout + unknown.stderr
        absent = run(*emit, **url, INGEST_CAFILE=str(tmp_path / "none.pem"))
        assert "INGEST_CAFILE" in absent.stdout + absent.stderr
        sent = run(*emit, **url, INGEST_CAFILE=str(tmp_path / "ca.pem"))
        assert (sent.returncode, len(ingest.messages())) == (0, 1), sent.stdout + sent.stderr


def test_a_certificate_that_cannot_be_used_ends_it_with_2(tmp_path, certificate):
    (tmp_path / "ingest.key").write_text("no key")
    with ingest_on(KafkaSettings(), tmp_path, ready=False, **certificate) as ingest:
        assert ingest.service.wait(20) == 2
        assert "INGEST_SSL_KEYFILE" in ingest.service.log()
