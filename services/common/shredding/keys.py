"""The folder of the subjects' keys: one key file for each subject, and nobody's name in it.

    master             32 random bytes, made at the first use
    subjects/<name>    the key id of a subject; <name> is an HMAC of namespace and id under the master key
    keys/<key id>      the key, and the <name> that leads to it
    destroyed/<id>     when this key was destroyed, and by which request
    lock               held while something is made or destroyed

A key id is made of the key itself, at random therefore: once the key and what leads to it are gone, not even who holds the
master key can tell whose tokens those were, nor test a guess.

Files have mode 0600, are synced with their folder before whoever made them encrypts anything by them, and are never written over.
"""

from __future__ import annotations

import fcntl
import hmac
import json
import os
import re
import secrets
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from schemas.shredding.cipher import KEY_BYTES, SubjectKey
from services.common.clock import Clock, system_clock
from services.common.errors import ConfigurationError, TransientError

_FOLDERS = ("keys", "subjects", "destroyed")
_KEY_ID = re.compile(r"[0-9a-f]{32}").fullmatch
_TRIES = 5


class Destroyed(NamedTuple):
    """A key that is no more: since when (ISO 8601, UTC), and by which request."""

    key_id: str
    at: str
    request: str


class SubjectKeys:
    """One folder of keys. `create`: whether an empty folder becomes one. Raises ConfigurationError where it is none, and
    TransientError, as each method does, where it cannot be read or written now."""

    def __init__(self, folder: Path, *, create: bool, clock: Clock = system_clock) -> None:
        self.folder = folder
        self._clock = clock
        if not folder.is_dir():
            raise ConfigurationError(
                f"SUBJECT_KEYS_DIR={folder}: no such folder. Make it (mkdir -m 700 {folder}), where the database's backups do "
                "not reach; or is its volume not mounted?"
            )
        with _told(folder):
            if create and not (folder / "master").exists():
                self._found()
            self._master = self._read_master()
            missing = [name for name in _FOLDERS if not (folder / name).is_dir()]
        if missing:
            raise ConfigurationError(
                f"SUBJECT_KEYS_DIR={folder} has a master key and no folder `{missing[0]}`: bring it back from the folder's backup"
            )

    def key_of(self, subject: str, namespace: str = "") -> SubjectKey:
        """The subject's key, made and durable if there was none, or if the last one was destroyed."""
        name = self._name(subject, namespace)
        with _told(self.folder):
            self._check()
            return self._living(name) or self._make(name)

    def find(self, subject: str, namespace: str = "") -> str | None:
        """The id of the subject's key, None where there is none. It may be one whose destruction was cut short."""
        with _told(self.folder):
            self._check()
            return _text(self.folder / "subjects" / self._name(subject, namespace))

    def by_id(self, key_id: str) -> SubjectKey | Destroyed | None:
        """A key by its id; that it was destroyed; None where this folder never had it."""
        if _KEY_ID(key_id) is None:
            return None
        with _told(self.folder):
            return self._tombstone(key_id) or self._key(key_id)

    @contextmanager
    def destroyed(self, key_id: str, request: str) -> Iterator[Destroyed]:
        """Destroys a key for good: that is durable when the body begins. What leads from the subject to the key goes when the body
        is done, so that whoever was cut short finds by the subject what to finish."""
        with _told(self.folder):
            name = self._pointer(key_id)
            stone = self._destroy(key_id, request)
        yield stone
        with _told(self.folder), self._locked():
            if name is not None and _text(self.folder / "subjects" / name) == key_id:
                _remove(self.folder / "subjects" / name)

    def _destroy(self, key_id: str, request: str) -> Destroyed:
        with self._locked():
            self._check()
            stone = self._tombstone(key_id)
            if stone is None:
                moment = datetime.fromtimestamp(self._clock() / 1_000_000, UTC).isoformat(timespec="seconds")
                stone = Destroyed(key_id, moment, request)
                # From here on no reader takes the key for a living one, whatever else is still there.
                _publish(self.folder / "destroyed" / key_id, json.dumps(stone._asdict()))
            _remove(self.folder / "keys" / key_id)
            return stone

    def check(self) -> None:
        """That the folder is there and the one of the start. Raises TransientError."""
        with _told(self.folder):
            self._check()

    def _check(self) -> None:
        if self._read_master() != self._master:
            raise TransientError(
                f"SUBJECT_KEYS_DIR={self.folder} is another folder than at the start: start again"
            )

    def _living(self, name: str) -> SubjectKey | None:
        """The key that a subject has; None where it has none, or a destroyed one."""
        for _ in range(_TRIES):  # between two reads it may be destroyed
            key_id = _text(self.folder / "subjects" / name)
            if key_id is None or self._tombstone(key_id) is not None:
                return None
            key = self._key(key_id)
            if key is not None:
                return key
        raise TransientError(
            f"SUBJECT_KEYS_DIR={self.folder}: keys/{key_id} is missing and was not destroyed: bring it back from the folder's "
            "backup"
        )

    def _make(self, name: str) -> SubjectKey:
        with self._locked():
            other = self._living(name)
            if other is not None:
                return other
            old = _text(self.folder / "subjects" / name)
            if old is not None:  # its destruction was cut short: finished before nothing leads to it any more
                _remove(self.folder / "keys" / old)
                (self.folder / "subjects" / name).unlink()
            raw = secrets.token_bytes(KEY_BYTES)
            key = SubjectKey(raw)
            # A crash between the two leaves a key that nothing leads to and nothing was encrypted by.
            _write(self.folder / "keys" / key.id, f"{raw.hex()}\n{name}\n")
            _sync(self.folder / "keys")
            _publish(self.folder / "subjects" / name, key.id)
            return key

    def _key(self, key_id: str) -> SubjectKey | None:
        text = _text(self.folder / "keys" / key_id)
        if text is None:
            return None
        try:
            key = SubjectKey(bytes.fromhex(text.split("\n")[0]))
        except ValueError:
            key = None
        if key is None or key.id != key_id:
            raise TransientError(
                f"SUBJECT_KEYS_DIR={self.folder}: keys/{key_id} is damaged: bring it back from the folder's backup"
            )
        return key

    def _pointer(self, key_id: str) -> str | None:
        """The name that leads to a key. Where the key file is gone already the folder is looked through."""
        text = _text(self.folder / "keys" / key_id)
        if text is not None:
            return text.split("\n")[1] if "\n" in text else None
        with os.scandir(self.folder / "subjects") as files:
            names = (file for file in files if not file.name.startswith("."))
            return next((file.name for file in names if _text(Path(file.path)) == key_id), None)

    def _tombstone(self, key_id: str) -> Destroyed | None:
        text = _text(self.folder / "destroyed" / key_id)
        if text is None:
            return None
        try:
            said = json.loads(text)
            return Destroyed(key_id, str(said["at"]), str(said["request"]))
        except (ValueError, KeyError, TypeError):
            return Destroyed(key_id, "unknown", "unknown")

    def _name(self, subject: str, namespace: str) -> str:
        """By what a subject is found. Unicode's two ways to write ü are one; upper and lower case are two."""
        texts = [
            unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass")
            for text in (namespace, subject)
        ]
        message = b"".join(len(text).to_bytes(4, "big") + text for text in texts)
        return hmac.digest(self._master, b"piperoll subject 1" + message, "sha256").hex()

    def _found(self) -> None:
        """Makes the master key, unless another process has just done it."""
        with self._locked():
            for folder in _FOLDERS:
                (self.folder / folder).mkdir(mode=0o700, exist_ok=True)
            if (self.folder / "master").exists():
                return
            if any((self.folder / "keys").iterdir()):
                raise ConfigurationError(
                    f"SUBJECT_KEYS_DIR={self.folder} has keys and no file `master`: without it nobody's key is found. Bring it "
                    "back from the folder's backup"
                )
            _publish(self.folder / "master", secrets.token_hex(KEY_BYTES))

    def _read_master(self) -> bytes:
        text = _text(self.folder / "master")
        if text is None:
            raise ConfigurationError(
                f"SUBJECT_KEYS_DIR={self.folder} has no file `master`: is it the folder that ingest uses, and is its volume "
                "mounted?"
            )
        try:
            master = bytes.fromhex(text)
        except ValueError:
            master = b""
        if len(master) != KEY_BYTES:
            raise ConfigurationError(
                f"SUBJECT_KEYS_DIR={self.folder}: `master` is damaged: bring it back from a backup"
            )
        return master

    @contextmanager
    def _locked(self) -> Iterator[None]:
        handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise TransientError(f"SUBJECT_KEYS_DIR={folder}: {error.strerror}{where}") from error


def _text(path: Path) -> str | None:
    """A file's text without blanks at its end, None where there is no file."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return None


def _publish(path: Path, text: str) -> None:
    """A file that is there whole or not at all, and durable. Raises FileExistsError. What a crash leaves beside it is
    no key: those are written in place."""
    scratch = path.with_name(f".{secrets.token_hex(8)}")
    try:
        _write(scratch, text + "\n")
        path.hardlink_to(scratch)
    finally:
        with suppress(FileNotFoundError):
            scratch.unlink()
    _sync(path.parent)


def _write(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _remove(path: Path) -> None:
    """Gone and durably so. Writing over it first would be for show: disks write elsewhere."""
    path.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
