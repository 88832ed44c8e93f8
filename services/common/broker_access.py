"""Whether a broker lets us in, and if not, which settings are wrong.

Kafka's clients retry what will never work until they time out, and lose the reason on the way: a certificate that
nobody vouches for, a listener of another protocol, and with kafka-python 3.0.12 a wrong password too (it drops an
answer that comes together with the end of the connection). So we go in once by hand before a client does, and put into
words what comes back.
"""

from __future__ import annotations

import socket
import ssl
import struct

from kafka.errors import AuthorizationError, KafkaError, SaslAuthenticationFailedError
from kafka.net.sasl import get_sasl_mechanism

from services.common import kafka_wire
from services.common.errors import ConfigurationError, TransientError
from services.common.kafka_client import client_options, sasl_password, ssl_context
from services.common.settings import KafkaSettings

_TIMEOUT_S = 10.0
_DEFAULT_PORT = 9092


def check_access(settings: KafkaSettings) -> bool:
    """Connects to the first broker that listens, and signs in. False where none listens: clients wait for one.

    Raises ConfigurationError, which names the settings, where protocol, certificates or sign-in do not fit, and
    TransientError where the broker ends the connection without a word.
    """
    context = ssl_context(settings) if settings.security_protocol.endswith("SSL") else None
    if settings.security_protocol.startswith("SASL"):
        sasl_password(settings)
    for server in settings.bootstrap_servers.split(","):
        host, port = _address(server.strip())
        try:
            connection = socket.create_connection((host, port), _TIMEOUT_S)
        except OSError:
            continue
        with connection:
            if context is None:
                _enter(settings, server.strip(), host, connection)
            else:
                with _secured(settings, server.strip(), host, connection, context) as secured:
                    _enter(settings, server.strip(), host, secured)
        return True
    return False


def why_refused(settings: KafkaSettings, error: Exception) -> ConfigurationError | TransientError:
    """What an error of a Kafka client means: wrong settings, in words that name them, or something that may pass."""
    if isinstance(error, SaslAuthenticationFailedError):
        return _not_signed_in(settings, str(error))
    if isinstance(error, AuthorizationError):
        return ConfigurationError(
            f"Kafka's access lists do not let {settings.sasl_username or 'this client'} do this: {error}"
        )
    if isinstance(error, KafkaError):
        try:
            check_access(settings)
        except (ConfigurationError, TransientError) as reason:
            return reason
    return TransientError(
        f"no broker answers at KAFKA_BOOTSTRAP_SERVERS={settings.bootstrap_servers} "
        f"with KAFKA_SECURITY_PROTOCOL={settings.security_protocol}: {error}"
    )


def _address(server: str) -> tuple[str, int]:
    host, colon, port = server.rpartition(":")
    if not colon:
        return server, _DEFAULT_PORT
    if not host or not port.isdecimal():
        raise ConfigurationError(f"KAFKA_BOOTSTRAP_SERVERS: {server!r} is not host:port")
    return host.strip("[]"), int(port)


def _secured(
    settings: KafkaSettings, server: str, host: str, connection: socket.socket, context: ssl.SSLContext
) -> ssl.SSLSocket:
    try:
        return context.wrap_socket(connection, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise ConfigurationError(
            f"broker {server} shows a certificate that we do not trust ({error.verify_message}): set KAFKA_SSL_CAFILE "
            f"(now {settings.ssl_cafile or 'the system'}) to the authority that signed it, and name the broker in "
            "KAFKA_BOOTSTRAP_SERVERS as its certificate does"
        ) from error
    except OSError as error:
        raise TransientError(
            f"broker {server} ends the TLS handshake ({_reason(error)}): does it listen there with "
            f"KAFKA_SECURITY_PROTOCOL={settings.security_protocol}?"
        ) from error


def _enter(settings: KafkaSettings, server: str, host: str, connection: socket.socket) -> None:
    """Signs in where the protocol asks for it, else asks for something, so that the broker answers."""
    protocol = settings.security_protocol
    try:
        if protocol.startswith("SASL"):
            _sign_in(settings, server, host, connection)
        else:
            kafka_wire.metadata(connection)
    except kafka_wire.SpeaksTlsError:
        raise ConfigurationError(
            f"broker {server} speaks TLS: KAFKA_SECURITY_PROTOCOL={protocol} should be "
            f"{'SASL_SSL' if protocol.startswith('SASL') else 'SSL or SASL_SSL'}"
        ) from None
    except ssl.SSLError as error:  # TLS 1.3: only now we hear what the broker thinks of our certificate
        raise ConfigurationError(
            f"broker {server} refuses our certificate ({_reason(error)}): look at "
            f"KAFKA_SSL_CERTFILE={settings.ssl_certfile or ''} and KAFKA_SSL_KEYFILE"
        ) from error
    except (OSError, struct.error) as error:
        raise TransientError(
            f"broker {server} listens but does not talk to us ({_reason(error)}): does it listen there with "
            f"KAFKA_SECURITY_PROTOCOL={protocol}?"
        ) from error


def _sign_in(settings: KafkaSettings, server: str, host: str, connection: socket.socket) -> None:
    others = kafka_wire.sasl_handshake(connection, settings.sasl_mechanism)
    if others:
        raise ConfigurationError(
            f"broker {server} does not sign in by KAFKA_SASL_MECHANISM={settings.sasl_mechanism}: it takes "
            f"{', '.join(sorted(others))}, with KAFKA_SECURITY_PROTOCOL={settings.security_protocol}"
        )
    options = client_options(settings, "piperoll-access") | {"host": host}
    mechanism = get_sasl_mechanism(settings.sasl_mechanism)(**options)
    while not mechanism.is_done():
        objection, token = kafka_wire.sasl_authenticate(connection, mechanism.auth_bytes())
        if objection is not None:
            raise _not_signed_in(settings, objection)
        try:
            mechanism.receive(token)
        except ValueError as error:
            raise _not_signed_in(settings, f"the broker does not prove that it knows it: {error}") from error


def _not_signed_in(settings: KafkaSettings, objection: str) -> ConfigurationError:
    return ConfigurationError(
        f"Kafka does not accept the sign-in of {settings.sasl_username!r}: look at KAFKA_SASL_USERNAME, "
        f"KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM={settings.sasl_mechanism} ({objection})"
    )


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error) or type(error).__name__
