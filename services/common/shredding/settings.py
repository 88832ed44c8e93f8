"""Where the subjects' keys are, and which fields are encrypted."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from services.common.settings import SettingsGroup


class SubjectKeySettings(SettingsGroup):
    """Personal fields that are encrypted before an event is sent, under a key for each subject (crypto-shredding)."""

    folder: Path | None = Field(
        None,
        alias="SUBJECT_KEYS_DIR",
        description="folder of the subjects' keys, on another disk than the database and in none of its backups",
    )
    fields: Path | None = Field(
        None,
        alias="SUBJECT_FIELDS",
        description="YAML file: which fields are encrypted, and under whose key (deploy/docs/shredding.md)",
    )
