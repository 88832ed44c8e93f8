"""API keys: a file with a name, a hash, scopes and source patterns for each.

A token is 256 random bits, so its plain SHA-256 is enough: slow hashes (bcrypt, Argon2) protect what people can guess,
and nobody guesses 256 bits. The file never holds a token; who reads it cannot send.

    keys:
    - name: billing
      sha256: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
      scopes: [ingest]
      sources: [/billing/*]
"""

from __future__ import annotations

import fcntl
import hmac
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import yaml

from services.common.errors import ConfigurationError

Scope = Literal["ingest", "read", "audit"]
TOKEN_PREFIX = "pr_"  # noqa: S105 - tells leak scanners what it is
_Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
_Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
_Pattern = Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
_GOOD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}").fullmatch


class ApiKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One key. With `sources` it may only send events whose source matches one of these shell patterns (`*` is any
    text, `/` too)."""

    name: _Name
    sha256: _Digest
    scopes: tuple[Scope, ...] = ("ingest",)
    sources: tuple[_Pattern, ...] = ()

    def may_use(self, source: str) -> bool:
        return not self.sources or any(fnmatchcase(source, pattern) for pattern in self.sources)


class _File(msgspec.Struct, forbid_unknown_fields=True):
    keys: list[ApiKey] = []


def digest_of(token: str) -> str:
    """The hash under which a token is known."""
    return sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def read_keys(path: Path) -> list[ApiKey]:
    """All keys of a file. Raises ConfigurationError."""
    try:
        content = yaml.safe_load(path.read_bytes())
        keys = msgspec.convert({} if content is None else content, _File).keys
    except OSError as error:
        raise ConfigurationError(f"API_KEYS_FILE={path}: {error.strerror}") from error
    except (yaml.YAMLError, msgspec.ValidationError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"API_KEYS_FILE={path}: {error}") from error
    names = [key.name for key in keys]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(f"API_KEYS_FILE={path}: the name {twice[0]} stands twice")
    return keys


def create_key(
    path: Path, name: str, scopes: Sequence[Scope] = ("ingest",), sources: Sequence[str] = ()
) -> str:
    """Adds a key to the file (made with mode 0600 where there is none) and returns its token, which is kept nowhere.
    Raises ConfigurationError where the name is taken or something is wrong with the file."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    if _GOOD_NAME(name) is None:
        raise ConfigurationError(
            f"{name!r}: a key's name is 1 to 64 letters, digits, dots, dashes and underscores"
        )
    with _locked(path):
        keys = read_keys(path) if path.exists() else []
        if any(key.name == name for key in keys):
            raise ConfigurationError(
                f"{path} has a key {name}: choose another name, or remove that one first"
            )
        _write(path, [*keys, ApiKey(name, digest_of(token), tuple(scopes), tuple(sources))])
    return token


def remove_key(path: Path, name: str) -> None:
    """Takes a key out of the file. Raises ConfigurationError where there is none of that name."""
    with _locked(path):
        keys = read_keys(path)
        left = [key for key in keys if key.name != name]
        if len(left) == len(keys):
            raise ConfigurationError(f"{path} has no key {name}")
        _write(path, left)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two commands at once do not lose one another's key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(path: Path, keys: list[ApiKey]) -> None:
    """The whole file or the old one, never half: written beside it, then renamed."""
    content = {"keys": [msgspec.to_builtins(key, builtin_types=()) for key in keys]}
    text = msgspec.json.format(msgspec.json.encode(content)).decode()
    if path.suffix != ".json":
        text = yaml.safe_dump(msgspec.json.decode(text), sort_keys=False)
    scratch = path.with_name(path.name + ".new")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        previous = path.stat()
        scratch.chmod(previous.st_mode & 0o777)
        if os.geteuid() == 0:
            os.chown(scratch, previous.st_uid, previous.st_gid)
    scratch.replace(path)


def find_key(keys: Sequence[ApiKey], token: str) -> ApiKey | None:
    """The key of a token. The time that it takes does not tell how much of a hash was right, nor which key it is."""
    digest = digest_of(token)
    found = None
    for key in keys:
        if hmac.compare_digest(key.sha256, digest):
            found = key
    return found
