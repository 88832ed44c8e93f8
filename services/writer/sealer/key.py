"""The key that signs: from the settings, or from a file that is made at the first start.

One Ed25519 key signs the seal log and every chain: the origin is in each signed text. It belongs where the database's
owner cannot read it; whoever has it and all copies of the checkpoints could sign another history.
"""

from __future__ import annotations

import os
from pathlib import Path

from schemas.tlog.note import Signer, new_key
from services.common.errors import ConfigurationError
from services.common.logging import get_logger
from services.writer.sealer.memory import sync_folder
from services.writer.sealer.settings import SealerSettings

log = get_logger(__name__)
KEY_FILE = "key"


def read_key(settings: SealerSettings) -> Signer:
    """The key, under the name `<origin>/seal`. Raises ConfigurationError where it is none, or its file can be read by
    others."""
    if settings.key is not None:
        return _parsed(settings.key.get_secret_value(), "SEALER_KEY")
    path = settings.folder / KEY_FILE
    try:
        settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            _make(path, settings.origin)
        if path.stat().st_mode & 0o077:
            raise ConfigurationError(f"{path} can be read by others: chmod 600 {path}")
        return _parsed(path.read_text(encoding="utf-8").strip(), str(path))
    except OSError as error:
        raise ConfigurationError(
            f"the sealer's key {path} cannot be read or made: {error.strerror}; is SEALER_DIR writable?"
        ) from error


def _make(path: Path, origin: str) -> None:
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    text = new_key(f"{origin}/seal").private() + "\n"
    with os.fdopen(
        os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)
    log.info("key_made", path=str(path))


def _parsed(text: str, where: str) -> Signer:
    try:
        return Signer.from_private(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{where} is no signing key ({error}); `piperoll seal new-key` prints one"
        ) from None
