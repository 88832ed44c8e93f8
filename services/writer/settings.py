"""Settings of the writer and of its migrations, beside Kafka's and PostgreSQL's."""

from __future__ import annotations

from pydantic import Field, SecretStr

from services.common.settings import SettingsGroup


class WriterSettings(SettingsGroup):
    """How records are batched, and how long PostgreSQL may take."""

    batch_records: int = Field(
        8000, alias="WRITER_BATCH_RECORDS", ge=1, le=50_000, description="records of one transaction, about"
    )
    batch_bytes: int = Field(
        8 * 1024 * 1024,
        alias="WRITER_BATCH_BYTES",
        ge=65_536,
        le=256 * 1024 * 1024,
        description="bytes of one transaction, about; the writer holds two such batches in memory",
    )
    batch_age_ms: int = Field(
        50,
        alias="WRITER_BATCH_AGE_MS",
        ge=0,
        le=10_000,
        description="a batch is not held longer, milliseconds",
    )
    duplicate_window_hours: int = Field(
        168,
        alias="WRITER_DUPLICATE_WINDOW_HOURS",
        ge=1,
        description="how far back a repeat of source and id is recognised as a duplicate",
    )
    statement_timeout_s: float = Field(
        60,
        alias="WRITER_STATEMENT_TIMEOUT_S",
        gt=0,
        description="a transaction that takes longer is given up and tried again, seconds",
    )


class MigrateSettings(SettingsGroup):
    """Passwords that a migration gives to the login roles; a role without one keeps its own."""

    writer: SecretStr | None = Field(None, alias="PIPEROLL_WRITER_PASSWORD", description="of piperoll_writer")
    sealer: SecretStr | None = Field(None, alias="PIPEROLL_SEALER_PASSWORD", description="of piperoll_sealer")
    reporter: SecretStr | None = Field(
        None, alias="PIPEROLL_REPORTER_PASSWORD", description="of piperoll_reporter"
    )
    operator: SecretStr | None = Field(
        None,
        alias="PIPEROLL_OPERATOR_PASSWORD",
        description="of piperoll_operator, as which `piperoll restore` signs in",
    )

    def passwords(self) -> dict[str, str]:
        """By role."""
        found = {"piperoll_writer": self.writer, "piperoll_sealer": self.sealer}
        found |= {"piperoll_reporter": self.reporter, "piperoll_operator": self.operator}
        return {role: secret.get_secret_value() for role, secret in found.items() if secret is not None}
