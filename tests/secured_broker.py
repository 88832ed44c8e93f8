"""A real broker that wants TLS and sign-in: one listener for each security protocol, and an inner one without."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.admin import ScramMechanism, UserScramCredentialUpsertion

from deploy.local import processes
from deploy.local.ports import LOOPBACK, free_port
from tests.certificates import Authority
from tests.new_broker import new_broker

USER = "piperoll"
PASSWORD = "s3cret, with = and 'quotes'"
LISTENERS = {
    "SIGNED": "SASL_SSL",
    "OPENSIGNED": "SASL_PLAINTEXT",
    "CERTIFIED": "SSL",
}
"""Listener by name, and the protocol that it speaks; SSL asks for a client certificate."""
_MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")


class SecuredBroker:
    """Addresses by security protocol, and files in PEM."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.authority = Authority("authority of the tests")
        self.ports = {protocol: free_port() for protocol in LISTENERS.values()}
        self.cafile = folder / "authority.pem"
        self.cafile.write_text(self.authority.certificate)
        self.certfile, self.keyfile = self.authority.sign("client").save(folder, "client")
        self.locked_key_password = "opens the key"
        locked = self.authority.sign("locked", password=self.locked_key_password)
        self.locked_certfile, self.locked_keyfile = locked.save(folder, "locked")
        stranger = Authority("another authority")
        self.other_cafile = folder / "other-authority.pem"
        self.other_cafile.write_text(stranger.certificate)
        self.other_certfile, self.other_keyfile = stranger.sign("stranger").save(folder, "stranger")
        inner, controller = free_port(), free_port()
        self.broker = new_broker(
            folder / "kafka",
            port=inner,
            controller_port=controller,
            extra=self._properties(inner, controller),
        )

    def address(self, protocol: str) -> str:
        return f"{LOOPBACK}:{self.ports[protocol]}"

    def add_users(self) -> None:
        """The user of both SCRAM mechanisms; that of PLAIN is in the properties."""
        admin = KafkaAdminClient(bootstrap_servers=self.broker.address)
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
            user = UserScramCredentialUpsertion(USER, mechanism, PASSWORD)
            assert admin.alter_user_scram_credentials([user]) == {USER: None}
        admin.close()

    def _properties(self, inner: int, controller: int) -> dict[str, str]:
        pair = self.authority.sign("broker", addresses=(LOOPBACK,))
        outer = [f"{name}://{self.address(protocol)}" for name, protocol in LISTENERS.items()]
        plain = f"PLAINTEXT://{LOOPBACK}:{inner}"
        protocols = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT"} | LISTENERS
        found = {
            "listeners": ",".join([plain, f"CONTROLLER://{LOOPBACK}:{controller}", *outer]),
            "advertised.listeners": ",".join([plain, *outer]),
            "listener.security.protocol.map": ",".join(f"{name}:{kind}" for name, kind in protocols.items()),
            "inter.broker.listener.name": "PLAINTEXT",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.certificate.chain": pair.certificate,
            "ssl.keystore.key": pair.key,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.certificates": self.authority.certificate,
            "listener.name.certified.ssl.client.auth": "required",
        }
        for listener in ("signed", "opensigned"):
            found |= _sign_in(f"listener.name.{listener}")
        return found


def _sign_in(listener: str) -> dict[str, str]:
    modules = "org.apache.kafka.common.security"
    escaped = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
    plain = f'{modules}.plain.PlainLoginModule required user_{USER}="{escaped}";'
    scram = f"{modules}.scram.ScramLoginModule required;"
    return {f"{listener}.sasl.enabled.mechanisms": ",".join(_MECHANISMS)} | {
        f"{listener}.{mechanism.lower()}.sasl.jaas.config": plain if mechanism == "PLAIN" else scram
        for mechanism in _MECHANISMS
    }


@contextmanager
def secured_broker(folder: Path, guard: Callable[[processes.Handle], None]) -> Iterator[SecuredBroker]:
    """Runs while the context lasts. `guard`: takes what must not outlive the test run."""
    made = SecuredBroker(folder)
    handle = made.broker.start()
    guard(handle)
    try:
        made.broker.wait_ready(handle)
        made.add_users()
        yield made
    finally:
        processes.stop(handle, grace=10)
