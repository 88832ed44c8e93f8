"""Passwords of the local database: made at first use, one file each, mode 0600 in a folder of mode 0700."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def secret_file(folder: Path, name: str) -> Path:
    """The file that holds the secret `name`; it is made if missing, whole or not at all."""
    path = folder / name
    if not path.is_file():
        write_secret(path, secrets.token_urlsafe(24))
    return path


def write_secret(path: Path, text: str) -> None:
    """Writes a file that only we can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(
        os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)
    draft.replace(path)


def read_secret(folder: Path, name: str) -> str:
    """The secret `name`, made if missing."""
    return secret_file(folder, name).read_text(encoding="utf-8").strip()
