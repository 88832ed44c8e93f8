"""Settings of the sealer, beside Kafka's and PostgreSQL's."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from services.common.settings import SettingsGroup


class SealerSettings(SettingsGroup):
    """What the sealer signs with, how often, and where it keeps and publishes what it signed."""

    origin: str = Field(
        "piperoll.local/dev",
        alias="SEALER_ORIGIN",
        pattern=r"^[^\s+]{1,200}$",
        description="begins the origin (name) of every log: DOMAIN/ENVIRONMENT, without blanks and plus signs; never "
        "change it for a database that is sealed already",
    )
    key: SecretStr | None = Field(
        None,
        alias="SEALER_KEY",
        description="the Ed25519 key that signs, as PRIVATE+KEY+… (`piperoll seal new-key`); default: the file `key` in "
        "SEALER_DIR, made at the first start",
    )
    next_key: SecretStr | None = Field(
        None,
        alias="SEALER_NEXT_KEY",
        description="the key that comes after it, while keys are changed (`piperoll seal rotate`): the change is recorded and "
        "sealed, then both sign; default: the file `key.next` in SEALER_DIR, if there is one",
    )
    folder: Path = Field(
        Path("sealer"),
        alias="SEALER_DIR",
        description="the sealer's memory of what it signed, outside PostgreSQL: on another disk than the database's, "
        "backed up apart from it",
    )
    published: Path | None = Field(
        None,
        alias="SEALER_PUBLISH_DIR",
        description="where the logs are published in the layout of tlog-tiles; default: `published` in SEALER_DIR",
    )
    interval_s: float = Field(
        2.0,
        alias="SEALER_INTERVAL_S",
        gt=0,
        le=60,
        description="seconds from seal to seal while there is news",
    )
    heartbeat_s: float = Field(
        600.0, alias="SEALER_HEARTBEAT_S", gt=0, description="seconds from seal to seal while there is none"
    )
    patience_s: float = Field(
        30.0,
        alias="SEALER_PATIENCE_S",
        gt=0,
        description="records that cannot be compared with Kafka are sealed uncompared after so many seconds, with an alert",
    )
    records_a_round: int = Field(
        65_536,
        alias="SEALER_RECORDS_A_ROUND",
        ge=256,
        le=1_000_000,
        description="records of one chain that a seal takes in at most",
    )

    @property
    def publish_to(self) -> Path:
        return self.published or self.folder / "published"
