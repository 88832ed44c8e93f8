"""A time-stamp authority to test against: `openssl ts` makes the stamps, `cryptography` its certificates."""

from __future__ import annotations

import shutil
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.standins.hanging_up import Server

_CONFIG = """
[tsa]
default_tsa = here
[here]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
"""
"""No `certs`: openssl writes several certificates in the order given, which rfc3161-client refuses as not DER."""


class StandInAuthority:
    """Serves on loopback while the context lasts. `mode` "away", or "other" (stamps something else)."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.skip("no openssl here: its `ts` makes the stamps")
        self.folder = folder
        self.mode = "good"
        folder.mkdir(parents=True)
        (folder / "serial").write_text("01\n")
        (folder / "tsa.cnf").write_text(_CONFIG.format(folder=folder))
        make_certificates(folder)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/stamp"

    @property
    def root(self) -> Path:
        return self.folder / "root.pem"

    def __enter__(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_arguments):
                """Quiet."""

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                said = b"" if outer.mode == "away" else outer.stamp(body)
                self.send_response(503 if outer.mode == "away" else 200)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_error):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def stamp(self, query: bytes) -> bytes:
        asked = self.folder / "asked.tsq"
        if self.mode == "other":
            (self.folder / "other").write_bytes(b"something else\n")
            command = [
                "openssl",
                "ts",
                "-query",
                "-data",
                self.folder / "other",
                "-sha256",
                "-cert",
                "-out",
                asked,
            ]
            subprocess.run(command, check=True, capture_output=True)
        else:
            asked.write_bytes(query)
        reply = self.folder / "reply.tsr"
        command = [
            "openssl",
            "ts",
            "-reply",
            "-config",
            self.folder / "tsa.cnf",
            "-queryfile",
            asked,
            "-out",
            reply,
        ]
        subprocess.run(command, check=True, capture_output=True)
        return reply.read_bytes()


def make_certificates(folder: Path) -> None:
    """root.pem, and tsa.pem with tsa.key below it: may stamp times, and nothing else."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _certificate("test root", "test root", root_key, root_key, ca=True)
    leaf = _certificate("test authority", "test root", key, root_key, ca=False)
    (folder / "root.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
    (folder / "tsa.pem").write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "tsa.key").write_bytes(key.private_bytes(*form))


def _certificate(name, issuer, key, signed_by, *, ca):
    now = datetime.now(UTC)
    usage = x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signed_by.public_key()), critical=False
        )
    )
    if not ca:
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    return made.sign(signed_by, hashes.SHA256())
