"""SHA-256 of many byte strings at once: by `_sha256.c` where it was built, else by hashlib, with the same results.

hashlib makes and frees two contexts for each hash, which takes longer than to hash a record. `NATIVE` says which of both
it is. Nothing else depends on it, and nothing else may import `_sha256`.
"""

from __future__ import annotations

from hashlib import sha256


def _by_hashlib(prefix: bytes, first: list[bytes], second: list[bytes] | None = None, /) -> list[bytes]:
    if second is None:
        return [sha256(prefix + item).digest() for item in first]
    return [sha256(prefix + item + more).digest() for item, more in zip(first, second, strict=True)]


try:
    from schemas._sha256 import digests as _digests
except ImportError:  # no compiler, no headers of Python, or an OpenSSL that is not to be found
    _digests = _by_hashlib

NATIVE = _digests is not _by_hashlib


def sha256_each(prefix: bytes, first: list[bytes], second: list[bytes] | None = None) -> list[bytes]:
    """SHA-256(prefix || item) of each item, or SHA-256(prefix || item || other) with the other at the same place of
    `second`: 32 bytes each. Raises ValueError where the lists differ in length. All must be bytes: C raises TypeError for
    what is not, hashlib takes whatever has a buffer."""
    return _digests(prefix, first) if second is None else _digests(prefix, first, second)
