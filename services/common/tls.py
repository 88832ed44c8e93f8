"""What settings say of TLS: certificates and keys from files, and which hosts need none."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from services.common.errors import ConfigurationError


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`. A name other than localhost is taken as reachable."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_private(url: str) -> bool:
    """Whether what goes to `url` can be read on the way by nobody: https, or http that does not leave this machine."""
    parts = urlsplit(url)
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    )


def load_certificate(
    context: ssl.SSLContext,
    certificate: Path,
    key: Path | None,
    password: SecretStr | None = None,
    *,
    prefix: str,
    hint: str,
) -> None:
    """Loads a chain and its key (in a file of its own, or the same). Raises ConfigurationError, which names the settings
    `prefix`CERTFILE and `prefix`KEYFILE and ends with the hint."""
    secret = "" if password is None else password.get_secret_value()
    try:
        # Without a function OpenSSL would ask the terminal for the password of an encrypted key.
        context.load_cert_chain(certificate, key, lambda: secret)
    except OSError as error:
        raise ConfigurationError(
            f"{prefix}CERTFILE={certificate} with {prefix}KEYFILE={key or ''} cannot be used ({error}): both must be "
            f"PEM and belong together; {hint}"
        ) from error
