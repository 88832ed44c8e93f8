"""Settings of the reporter when it runs as a service of its own."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from services.common.settings import SettingsGroup


class ReporterSettings(SettingsGroup):
    """Which report `python -m services.reporter` builds, and where to."""

    period: str | None = Field(
        None,
        alias="REPORT_PERIOD",
        description="a month as 2026-10; default: the last 30 days by append time",
    )
    folder: Path = Field(
        Path("reports"), alias="REPORT_DIR", description="folder in which reports are written"
    )


class VerifySettings(SettingsGroup):
    """What `piperoll verify` and reports compare the records with."""

    checkpoints: str = Field(
        "",
        alias="VERIFY_CHECKPOINTS",
        description="places of checkpoints, with commas: folders or URLs in which the sealer publishes, files, `topic`; "
        "s3://BUCKET/PREFIX, time-stamps (.tsr); default: the local stack's",
    )
    vkeys: str = Field(
        "",
        alias="VERIFY_VKEYS",
        description="the keys that must have signed them, with commas (`piperoll seal key` prints the sealer's)",
    )
    policy: Path | None = Field(
        None,
        alias="VERIFY_POLICY",
        description="a tlog-policy file instead: keys, witnesses and their quorum",
    )
    tsa_certificate: Path | None = Field(
        None,
        alias="VERIFY_TSA_CERTIFICATE",
        description="PEM file with the certificates of the RFC 3161 authority whose time-stamps count as evidence, its root "
        "among them",
    )
    every_hours: float = Field(
        24.0,
        alias="VERIFY_EVERY_HOURS",
        ge=0,
        description="the reporter verifies everything so often, hours, and alerts where that is not good or cannot be done; "
        "0: never",
    )
    processes: int = Field(
        1, alias="VERIFY_PROCESSES", ge=1, le=64, description="of the reporter's own verification"
    )

    @property
    def places(self) -> list[str]:
        return [place.strip() for place in self.checkpoints.split(",") if place.strip()]

    @property
    def keys(self) -> list[str]:
        return [vkey.strip() for vkey in self.vkeys.split(",") if vkey.strip()]
