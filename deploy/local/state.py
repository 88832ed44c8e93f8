"""What runs, as `up` wrote it down: addresses without passwords, which lie in files of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from deploy.local.home import Home
from deploy.local.ports import LOOPBACK
from deploy.local.processes import Handle, read_handle
from deploy.local.secrets import read_secret, secret_file

SUPERUSER_SECRET = "postgres"  # noqa: S105 - the name of a file
GIVEN_DATABASE = "database-url"
LOGIN_ROLES = ("piperoll_writer", "piperoll_sealer", "piperoll_reporter", "piperoll_operator")
DATABASE_NAME = "piperoll"


@dataclass(frozen=True)
class State:
    """Addresses in use. `database_port` None: the database was given, its address is a secret file."""

    bootstrap_servers: str
    own_broker: bool
    database_port: int | None
    topic_prefix: str
    ports: dict[str, int]
    """Port of each service."""
    tls: bool = False
    """Whether ingest speaks HTTPS."""

    def save(self, home: Home) -> None:
        draft = home.state.with_suffix(".new")
        draft.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        draft.replace(home.state)

    def url(self, service: str) -> str:
        scheme = "https" if self.tls and service == "ingest" else "http"
        return f"{scheme}://{LOOPBACK}:{self.ports[service]}"

    def dsn(self, home: Home, role: str) -> str:
        """The address of the database for a role; `postgres` is the superuser. It holds a password."""
        if self.database_port is None:
            return read_secret(home.secrets, GIVEN_DATABASE)
        password = read_secret(home.secrets, role)
        return f"postgresql://{role}:{password}@{LOOPBACK}:{self.database_port}/{DATABASE_NAME}"

    def addresses(self, home: Home) -> dict[str, str]:
        """What `piperoll env` prints."""
        found = {
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "TOPIC_PREFIX": self.topic_prefix,
            "DATABASE_URL": self.dsn(home, "piperoll_reporter"),
            "ADMIN_DATABASE_URL": self.dsn(home, SUPERUSER_SECRET),
        }
        if "ingest" in self.ports:
            found["INGEST_URL"] = self.url("ingest")
        return found | {f"{name.upper()}_HEALTH_URL": self.url(name) for name in self.ports}

    def service_variables(self, home: Home, role: str | None) -> dict[str, str]:
        """What a service needs to find broker and database, without any password in it."""
        found = {"KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers, "TOPIC_PREFIX": self.topic_prefix}
        if self.own_broker:
            found["KAFKA_SECURITY_PROTOCOL"] = "PLAINTEXT"
        if role is None:
            return found
        if self.database_port is None:
            return found | {"DATABASE_URL_FILE": str(secret_file(home.secrets, GIVEN_DATABASE))}
        return found | {
            "PG_HOST": LOOPBACK,
            "PG_PORT": str(self.database_port),
            "PG_DB": DATABASE_NAME,
            "PG_USER": role,
            "PG_PASSWORD_FILE": str(secret_file(home.secrets, role)),
        }


def load_state(home: Home) -> State | None:
    """The state, if `up` has been here and neither `down` nor a crash of broker or database came after it."""
    try:
        fields = json.loads(home.state.read_text(encoding="utf-8"))
        state = State(**fields)
    except (OSError, ValueError, TypeError):
        return None
    parts = ["supervisor"]
    parts += ["kafka"] if state.own_broker else []
    parts += ["postgres"] if state.database_port is not None else []
    handles = [read_handle(home.pid_file(part)) for part in parts]
    return state if all(handle is not None and handle.alive for handle in handles) else None


@dataclass(frozen=True)
class ServiceState:
    """What the supervisor says of one service. `state`: running, waiting (for its restart) or failed."""

    state: str
    restarts: int
    exit_status: int | None
    handle: Handle | None


def load_services(home: Home) -> dict[str, ServiceState]:
    """What the supervisor last wrote; empty where there was none."""
    try:
        found: Mapping[str, dict[str, object]] = json.loads(home.services.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: _service_state(fields) for name, fields in found.items()}


def _service_state(fields: Mapping[str, object]) -> ServiceState:
    handle = fields.get("handle")
    status = fields.get("exit_status")
    return ServiceState(
        str(fields["state"]),
        int(str(fields["restarts"])),
        status if isinstance(status, int) else None,
        Handle(int(handle["pid"]), str(handle["identity"])) if isinstance(handle, dict) else None,
    )


def save_services(home: Home, services: Mapping[str, ServiceState]) -> None:
    """Written by the supervisor only, whole or not at all."""
    draft = home.services.with_suffix(".new")
    draft.write_text(json.dumps({name: asdict(state) for name, state in services.items()}), encoding="utf-8")
    draft.replace(home.services)
