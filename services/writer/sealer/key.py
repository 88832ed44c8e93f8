"""The key that signs: from the settings, or from a file that is made at the first start.

One Ed25519 key signs the seal log and every chain: the origin is in each signed text. It belongs where the database's
owner cannot read it; whoever has it and all copies of the checkpoints could sign another history.

A key is changed in two steps. With a next key beside it, the change is first recorded on audit.system and sealed by the
present key alone; from then on both sign, each with a line of its own, until the present one is taken away.
"""

from __future__ import annotations

import os
from pathlib import Path

from schemas.tlog.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from schemas.tlog.errors import VerificationError
from schemas.tlog.note import Signer, new_key, open_note
from services.common.errors import ConfigurationError
from services.common.logging import get_logger
from services.writer.sealer.memory import sync_folder
from services.writer.sealer.settings import SealerSettings

log = get_logger(__name__)
KEY_FILE = "key"
NEXT_KEY_FILE = "key.next"


class Keys:
    """The key that signs, and the one that comes after it, if there is one: `overlap` is set once that signs too."""

    def __init__(self, current: Signer, following: Signer | None = None) -> None:
        self.current = current
        self.following = None if following is not None and following.seed == current.seed else following
        self.overlap = False

    @property
    def signing(self) -> list[Signer]:
        """Those whose signatures a checkpoint bears now."""
        return [self.current, self.following] if self.following and self.overlap else [self.current]

    def sign(self, checkpoint: Checkpoint) -> bytes:
        """The checkpoint's note: a key signs each origin under that name."""
        return sign_checkpoint(checkpoint, [key.renamed(checkpoint.origin) for key in self.signing])

    def open(self, origin: str, note: bytes) -> Checkpoint:
        """A checkpoint of `origin` that one of the keys has signed. If the next one has, its change is sealed, and it goes
        on signing. Raises MalformedError or VerificationError."""
        known = [key for key in (self.current, self.following) if key is not None]
        opened = open_note(note, [key.renamed(origin).verifier for key in known])
        checkpoint = parse_checkpoint(opened.text)
        if checkpoint.origin != origin:
            raise VerificationError(f"the checkpoint is of {checkpoint.origin!r}, not of {origin!r}")
        if self.following is not None:
            next_id = self.following.renamed(origin).verifier.key_id
            self.overlap |= any(signature.key_id == next_id for signature in opened.verified)
        return checkpoint


def read_keys(settings: SealerSettings) -> Keys:
    """The keys, under the name `<origin>/seal`; one is made where there is none. Raises ConfigurationError where it is
    no key, or its file can be read by others."""
    path = settings.folder / NEXT_KEY_FILE
    following = None
    if settings.next_key is not None:
        following = _parsed(settings.next_key.get_secret_value(), "SEALER_NEXT_KEY")
    elif path.exists():
        following = key_in(path)
    return Keys(read_key(settings), following)


def read_key(settings: SealerSettings) -> Signer:
    """The key that signs now. Raises ConfigurationError."""
    if settings.key is not None:
        return _parsed(settings.key.get_secret_value(), "SEALER_KEY")
    path = settings.folder / KEY_FILE
    try:
        settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            make_key(path, settings.origin)
            log.info("key_made", path=str(path))
    except OSError as error:
        raise ConfigurationError(
            f"the sealer's key {path} cannot be made: {error.strerror}; is SEALER_DIR writable?"
        ) from error
    return key_in(path)


def key_in(path: Path) -> Signer:
    """The key in a file. Raises ConfigurationError."""
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigurationError(f"{path} can be read by others: chmod 600 {path}")
        return _parsed(path.read_text(encoding="utf-8").strip(), str(path))
    except OSError as error:
        raise ConfigurationError(f"the sealer's key {path} cannot be read: {error.strerror}") from error


def make_key(path: Path, origin: str) -> None:
    """Makes a key in a file that only we can read, durable and whole. Raises OSError."""
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


def _parsed(text: str, where: str) -> Signer:
    try:
        return Signer.from_private(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{where} is no signing key ({error}); `piperoll seal new-key` prints one"
        ) from None
