"""The certificate of HTTPS: read and checked here, and watched, so that a renewed one is taken.

Granian's TLS (rustls) ends the process over files that it cannot use, and remembers where a link led when it started. So
it gets copies, written anew from what was checked, in a folder of our own.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from services.common.errors import ConfigurationError
from services.common.logging import get_logger
from services.ingest.watched import file_stamp

log = get_logger(__name__)

_CURVES = (ec.SECP256R1, ec.SECP384R1)
_RSA_BITS = range(2048, 8193)


class Pair(NamedTuple):
    """A certificate with its chain, its key (PKCS 8), both PEM, and when the certificate expires."""

    chain: bytes
    key: bytes
    until: datetime

    def save(self, folder: Path) -> tuple[Path, Path]:
        """Writes both for nobody else to read; returns (certificate, key)."""
        paths = folder / "certificate.pem", folder / "key.pem"
        for path, content in zip(paths, (self.chain, self.key), strict=True):
            path.touch(mode=0o600)
            path.write_bytes(content)
        return paths


class Certificate:
    """The files of a certificate and its key. Raises ConfigurationError where they cannot be used."""

    def __init__(self, file: Path, key: Path | None) -> None:
        self._file = file
        self._key = key or file
        self._stamps = self._look()
        self.pair = self._read()

    def renewed(self) -> bool:
        """Whether the files are others than at the last look, and can be used. Where they cannot (or only one of the two is
        renewed yet) `pair` stays, and the log says it."""
        stamps = self._look()
        if stamps == self._stamps:
            return False
        self._stamps = stamps
        try:
            self.pair = self._read()
        except ConfigurationError as error:
            log.error("keep_old_certificate", reason=str(error))  # noqa: TRY400 - the text says all
            return False
        return True

    def _look(self) -> list[tuple[int, ...] | None]:
        return [file_stamp(path) for path in (self._file, self._key)]

    def _read(self) -> Pair:
        try:
            chain = x509.load_pem_x509_certificates(self._file.read_bytes())
            key = load_pem_private_key(self._key.read_bytes(), None)
            wrong = _wrong(chain[0], key)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            wrong = str(error)
        if wrong is not None:
            raise ConfigurationError(
                f"INGEST_SSL_CERTFILE={self._file} with INGEST_SSL_KEYFILE={self._key} cannot be used ({wrong}): both must "
                "be PEM and belong together, and the key not encrypted"
            )
        until = chain[0].not_valid_after_utc
        if until < datetime.now(UTC):
            log.error("certificate_expired", file=str(self._file), until=until.isoformat())
        return Pair(
            b"".join(one.public_bytes(Encoding.PEM) for one in chain),
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            until,
        )


def _wrong(certificate: x509.Certificate, key: object) -> str | None:
    """Why the server could not use them, None if it can."""
    usable = (
        isinstance(key, ed25519.Ed25519PrivateKey)
        or (isinstance(key, rsa.RSAPrivateKey) and key.key_size in _RSA_BITS)
        or (isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, _CURVES))
    )
    if not usable or certificate.public_key_algorithm_oid == x509.PublicKeyAlgorithmOID.RSASSA_PSS:
        return "a key is RSA of 2,048 to 8,192 bits, P-256, P-384 or Ed25519"
    if certificate.public_key() != key.public_key():  # type: ignore[attr-defined]  # one of those above
        return "the certificate is for another key"
    return None if certificate.version is x509.Version.v3 else "the certificate is not of version 3"
