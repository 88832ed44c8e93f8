"""Settings of reports that are made by themselves."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from services.common.settings import SettingsGroup


class RunsSettings(SettingsGroup):
    """Reports that the reporter makes by itself, and where to."""

    file: Path | None = Field(
        None,
        alias="REPORTS_FILE",
        description="YAML with the schedules (README: Reports by themselves); default: one report a month, into REPORT_DIR",
    )
    folder: Path = Field(
        Path("reports"), alias="REPORT_DIR", description="folder in which reports are written"
    )
    every_s: float = Field(
        15.0,
        alias="REPORTS_EVERY_SECONDS",
        gt=0,
        le=3600,
        description="how often the reporter looks whether a report is due, seconds",
    )
    proof_wait_s: float = Field(
        30.0,
        alias="REPORT_PROOF_WAIT_S",
        ge=0,
        le=600,
        description="seconds that a report waits until the hashes of its files are sealed; then it goes without their proof",
    )
