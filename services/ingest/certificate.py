"""The certificate of HTTPS: checked before the server reads it, and watched, so that a renewed one is taken."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from services.common.errors import ConfigurationError
from services.common.logging import get_logger
from services.common.tls import load_certificate
from services.ingest.watched import file_stamp

log = get_logger(__name__)

_CURVES = (ec.SECP256R1, ec.SECP384R1)


class Certificate:
    """A certificate with its chain, and its key: PEM files. `until` is when it expires.

    Raises ConfigurationError where the server could not use them: it would end the process."""

    def __init__(self, file: Path, key: Path | None) -> None:
        self.file = file
        self.key = key or file
        self._stamps = self._look()
        self.until = self._check()

    def renewed(self) -> bool:
        """Whether the files are others than at the last look, and can be used. Where they cannot (or only one of the two is
        renewed yet) the server keeps what it has, and the log says it."""
        stamps = self._look()
        if stamps == self._stamps:
            return False
        self._stamps = stamps
        try:
            self.until = self._check()
        except (ConfigurationError, OSError, ValueError) as error:
            log.error("keep_old_certificate", reason=str(error))  # noqa: TRY400 - the text says all
            return False
        log.info("read_certificate", until=self.until.isoformat())
        return True

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [file_stamp(path) for path in (self.file, self.key)]

    def _check(self) -> datetime:
        load_certificate(
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
            self.file,
            self.key,
            prefix="INGEST_SSL_",
            hint="the key must not be encrypted",
        )
        key = load_pem_private_key(self.key.read_bytes(), None)
        if not (
            isinstance(key, rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey)
            or (isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, _CURVES))
        ):
            raise ConfigurationError(f"INGEST_SSL_KEYFILE={self.key}: a key is RSA, P-256, P-384 or Ed25519")
        until = x509.load_pem_x509_certificate(self.file.read_bytes()).not_valid_after_utc
        if until < datetime.now(UTC):
            log.error("certificate_expired", file=str(self.file), until=until.isoformat())
        return until
