"""What every Kafka client is made with: addresses, TLS and sign-in, from the settings."""

from __future__ import annotations

import ssl
from typing import Any

from services.common.errors import ConfigurationError
from services.common.settings import KafkaSettings


def client_options(settings: KafkaSettings, client_id: str) -> dict[str, Any]:
    """For clients of kafka-python. Raises ConfigurationError."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers.split(","),
        "client_id": client_id,
        "security_protocol": settings.security_protocol,
    }
    if settings.security_protocol.endswith("SSL"):
        options["ssl_context"] = ssl_context(settings)
    if settings.security_protocol.startswith("SASL"):
        options |= {
            "sasl_mechanism": settings.sasl_mechanism,
            "sasl_plain_username": settings.sasl_username,
            "sasl_plain_password": sasl_password(settings),
        }
    return options


def ssl_context(settings: KafkaSettings) -> ssl.SSLContext:
    """TLS with the given authority and client certificate. Raises ConfigurationError, which names the file."""
    context = _authority(settings)
    if settings.ssl_certfile is None:
        if settings.ssl_keyfile is not None:
            raise ConfigurationError(
                "KAFKA_SSL_KEYFILE is set: KAFKA_SSL_CERTFILE, its certificate, is missing"
            )
        return context
    # Without a function OpenSSL would ask the terminal for the password of an encrypted key.
    password = settings.ssl_key_password
    secret = "" if password is None else password.get_secret_value()
    try:
        context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile, lambda: secret)
    except OSError as error:
        raise ConfigurationError(
            f"KAFKA_SSL_CERTFILE={settings.ssl_certfile} with KAFKA_SSL_KEYFILE={settings.ssl_keyfile or ''} cannot "
            f"be used ({error}): both must be PEM and belong together; KAFKA_SSL_KEY_PASSWORD opens an encrypted key"
        ) from error
    return context


def _authority(settings: KafkaSettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ssl_cafile)
    except OSError as error:
        raise ConfigurationError(
            f"KAFKA_SSL_CAFILE={settings.ssl_cafile} cannot be used ({error}): it must be PEM, the certificate of the "
            "authority that signed the brokers'"
        ) from error


def sasl_password(settings: KafkaSettings) -> str:
    """The SASL password. Raises ConfigurationError where it or the user name is missing."""
    if settings.sasl_username is None or settings.sasl_password is None:
        raise ConfigurationError(
            f"KAFKA_SECURITY_PROTOCOL={settings.security_protocol} needs KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"
        )
    return settings.sasl_password.get_secret_value()
