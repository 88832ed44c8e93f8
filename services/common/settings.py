"""Settings: small groups of environment variables, composed per service and read in `main()` only.

A group is a pydantic model whose aliases are the variables' names; the field descriptions are the manual, and
`.env.example` is checked against them. Any variable can also be given as NAME_FILE, the path of a file that holds it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import quote

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from schemas.topics import EVENT_LIMIT, Topics
from services.common.errors import ConfigurationError


class SettingsGroup(BaseModel):
    """Base of all groups."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


Group = TypeVar("Group", bound=SettingsGroup)


class LogSettings(SettingsGroup):
    """How to log."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", alias="LOG_LEVEL", description="the least that is logged"
    )
    format: Literal["auto", "json", "columns"] = Field(
        "auto", alias="LOG_FORMAT", description="auto: columns on a terminal, JSON elsewhere"
    )


class HealthSettings(SettingsGroup):
    """Where /healthz, /readyz and /metrics are served (ingest serves them beside its API)."""

    host: str = Field("127.0.0.1", alias="HEALTH_HOST", description="address to listen on")
    port: int = Field(0, alias="HEALTH_PORT", description="0: any free port, logged at start")


class KafkaSettings(SettingsGroup):
    """Where Kafka is, how to sign in, and how the topics are laid out."""

    bootstrap_servers: str = Field(
        "127.0.0.1:9092", alias="KAFKA_BOOTSTRAP_SERVERS", description="host:port, several with commas"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", alias="KAFKA_SECURITY_PROTOCOL", description="TLS (SSL) and sign-in (SASL) or neither"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", alias="KAFKA_SASL_MECHANISM", description="how to sign in"
    )
    sasl_username: str | None = Field(None, alias="KAFKA_SASL_USERNAME", description="who signs in")
    sasl_password: SecretStr | None = Field(None, alias="KAFKA_SASL_PASSWORD", description="a secret")
    ssl_cafile: Path | None = Field(None, alias="KAFKA_SSL_CAFILE", description="PEM; default: the system's")
    ssl_certfile: Path | None = Field(
        None, alias="KAFKA_SSL_CERTFILE", description="PEM, for client certificates"
    )
    ssl_keyfile: Path | None = Field(None, alias="KAFKA_SSL_KEYFILE", description="PEM, its key")
    ssl_key_password: SecretStr | None = Field(
        None, alias="KAFKA_SSL_KEY_PASSWORD", description="a secret, where the key is encrypted"
    )
    topic_prefix: str = Field(
        "audit",
        alias="TOPIC_PREFIX",
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="topics are PREFIX.events …",
    )
    partitions: int = Field(
        6,
        alias="TOPIC_PARTITIONS",
        ge=1,
        le=1000,
        description="of audit.events and what follows it, when created",
    )
    replication: int = Field(
        1, alias="TOPIC_REPLICATION", ge=1, le=9, description="when created; 3 in production"
    )
    event_limit: int = Field(EVENT_LIMIT, alias="EVENT_MAX_BYTES", ge=1024, description="bytes of one event")
    session_timeout_ms: int = Field(
        45_000,
        alias="KAFKA_SESSION_TIMEOUT_MS",
        ge=1000,
        description="until a dead consumer is noticed, milliseconds",
    )

    @property
    def topics(self) -> Topics:
        return Topics(self.topic_prefix)


class PostgresSettings(SettingsGroup):
    """Where PostgreSQL is: DATABASE_URL, or the PG_ variables."""

    url: SecretStr | None = Field(
        None, alias="DATABASE_URL", description="postgresql://user:password@host:port/db"
    )
    host: str = Field("127.0.0.1", alias="PG_HOST", description="name or address of the server")
    port: int = Field(5432, alias="PG_PORT", description="its port")
    user: str = Field("piperoll", alias="PG_USER", description="the role that signs in")
    password: SecretStr | None = Field(None, alias="PG_PASSWORD", description="a secret")
    database: str = Field("piperoll", alias="PG_DB", description="name of the database")

    @property
    def dsn(self) -> str:
        """The connection address, with the password in it: never log it."""
        if self.url is not None:
            return self.url.get_secret_value()
        secret = "" if self.password is None else ":" + quote(self.password.get_secret_value(), safe="")
        return (
            f"postgresql://{quote(self.user, safe='')}{secret}@{self.host}:{self.port}/{quote(self.database)}"
        )


def environment(directory: Path | None = None, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The process's environment over the `.env` of `directory` (default: the working directory)."""
    file = (directory or Path.cwd()) / ".env"
    lines = (
        {name: text for name, text in dotenv_values(file).items() if text is not None}
        if file.is_file()
        else {}
    )
    return lines | dict(os.environ if environ is None else environ)


def read_settings(group: type[Group], variables: Mapping[str, str] | None = None) -> Group:
    """One group from the environment. An empty variable counts as not set. Raises ConfigurationError, which names
    each wrong variable and never shows its text (it may be a secret)."""
    variables = environment() if variables is None else variables
    given = {name: read_variable(name, variables) for name in _variables(group)}
    found = {name: text for name, text in given.items() if text}
    try:
        return group.model_validate(found)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ConfigurationError("settings: " + "; ".join(problems)) from None


def read_variable(name: str, variables: Mapping[str, str]) -> str:
    """One variable, or what is in the file that NAME_FILE names; empty where neither is set. Raises ConfigurationError."""
    path = variables.get(f"{name}_FILE")
    if not path:
        return variables.get(name) or ""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError(f"{name}_FILE: {path}: {error.strerror}") from error


def _variables(group: type[SettingsGroup]) -> list[str]:
    return [field.alias for field in group.model_fields.values() if field.alias is not None]
