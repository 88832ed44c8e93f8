"""Settings of ingest."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from services.common.errors import ConfigurationError
from services.common.settings import KafkaSettings, SettingsGroup
from services.common.tls import is_loopback

_MIB = 1024 * 1024

IN_CLEAR = (
    "other machines reach this port, and what goes over it can be read on the way: set INGEST_SSL_CERTFILE and "
    "INGEST_SSL_KEYFILE, or INGEST_BEHIND_TLS=true where a proxy speaks TLS with clients"
)


class IngestSettings(SettingsGroup):
    """Where ingest listens, who may send, and how much it holds at once."""

    host: str = Field("127.0.0.1", alias="INGEST_HOST", description="beyond loopback an API key is required")
    port: int = Field(8080, alias="INGEST_PORT", ge=1, le=65535, description="of the HTTP API")
    require_key: bool | None = Field(
        None,
        alias="INGEST_REQUIRE_KEY",
        description="default: true beyond loopback; false only where something else keeps strangers out",
    )
    ssl_certfile: Path | None = Field(
        None,
        alias="INGEST_SSL_CERTFILE",
        description="PEM with its chain: HTTPS instead of HTTP; a renewed one is taken without a restart",
    )
    ssl_keyfile: Path | None = Field(
        None, alias="INGEST_SSL_KEYFILE", description="PEM, its key, not encrypted; default: in the same file"
    )
    behind_tls: bool = Field(
        False,
        alias="INGEST_BEHIND_TLS",
        description="true where a proxy speaks TLS with clients, and nobody reaches this port but by it",
    )
    keys_file: Path | None = Field(
        None,
        alias="API_KEYS_FILE",
        description="API keys (YAML or JSON), hashed; `piperoll keys create` adds one",
    )
    delivery_timeout: float = Field(
        10.0,
        alias="INGEST_DELIVERY_TIMEOUT",
        ge=1,
        le=300,
        description="seconds until 503 where no broker acks",
    )
    body_timeout: float = Field(
        30.0, alias="INGEST_BODY_TIMEOUT", gt=0, description="seconds in which a body must have come"
    )
    batch_bytes: int = Field(
        8 * _MIB, alias="INGEST_BATCH_MAX_BYTES", ge=1024, description="bytes of a batch or of JSON lines"
    )
    batch_events: int = Field(
        10_000, alias="INGEST_BATCH_MAX_EVENTS", ge=1, description="events in one request"
    )
    max_requests: int = Field(
        512, alias="INGEST_MAX_REQUESTS", ge=1, description="requests not yet durable; beyond it 503"
    )
    max_bytes: int = Field(
        32 * _MIB,
        alias="INGEST_MAX_INFLIGHT_BYTES",
        ge=1024,
        description="bytes of their bodies; beyond it 503",
    )
    max_waiting: int = Field(
        5000,
        alias="INGEST_MAX_WAITING",
        ge=0,
        description="requests that wait for a reply; beyond it 202 at once",
    )
    max_connections: int = Field(
        4096, alias="INGEST_MAX_CONNECTIONS", ge=1, description="open at the same time; more wait"
    )
    stop_timeout: float = Field(
        20.0, alias="INGEST_STOP_TIMEOUT", gt=0, description="seconds that requests in flight have at SIGTERM"
    )
    catalog: Path | None = Field(
        None,
        alias="CATALOG_DIR",
        description="folder of YAML with event types of one's own, over the shipped ones",
    )

    @property
    def key_required(self) -> bool:
        return self.beyond_loopback if self.require_key is None else self.require_key

    @property
    def beyond_loopback(self) -> bool:
        """Whether other machines reach it, be it by a proxy."""
        return self.behind_tls or not is_loopback(self.host)

    @property
    def in_clear(self) -> bool:
        """Whether others than this machine could read along."""
        return self.beyond_loopback and self.ssl_certfile is None and not self.behind_tls


def check_settings(settings: IngestSettings, kafka: KafkaSettings) -> None:
    """Raises ConfigurationError where settings do not go together."""
    if settings.key_required and settings.keys_file is None:
        raise ConfigurationError(
            f"INGEST_HOST={settings.host} is reachable from elsewhere, so API keys are required: create one with "
            "`piperoll keys create NAME --file FILE` and set API_KEYS_FILE=FILE; or set INGEST_REQUIRE_KEY=false "
            "where only this machine reaches the port"
        )
    if settings.ssl_certfile is None and settings.ssl_keyfile is not None:
        raise ConfigurationError(
            "INGEST_SSL_KEYFILE is set: INGEST_SSL_CERTFILE, its certificate, is missing"
        )
    largest = max(settings.batch_bytes, kafka.event_limit)
    if settings.max_bytes < largest:
        raise ConfigurationError(
            f"INGEST_MAX_INFLIGHT_BYTES={settings.max_bytes} holds no request of {largest} bytes "
            "(INGEST_BATCH_MAX_BYTES, EVENT_MAX_BYTES): raise it"
        )
