"""From a value to its token and back, under the key of its subject.

A subject's key is 32 random bytes. From it come (HMAC-SHA-256 or -512 over a label) the key id, the key of the salts
and the AES-SIV key (RFC 5297), so that whoever reads a damaged or exchanged key file notices by its id.

    json       = the value as canonical JSON, blanks added up to a multiple of 32 bytes: a short value's length stays hidden
    salt       = HMAC-SHA-256(salt key, u32 length of place || place || json)
    sealed     = SHA-256(salt || json) || AES-SIV(salt || json; associated data: version, key id, place)

The salt stands only within the ciphertext, so that nobody without the key can test a guess; with it the commitment
SHA-256(salt || json) binds to the value, which AES-SIV, as other AEADs, does not do by itself. The same value at the same place
gives the same token: it can be counted, and a repeated event has the same bytes.
"""

from __future__ import annotations

import hmac
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from schemas.shredding.token import Token

KEY_BYTES = 32
SUBJECT_ID = "@"
"""The place of a subject's own id, wherever it stands: so one person has one token in all events."""
_VERSION = b"1"
_BLOCK = 32
_HASH = 32
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class BadTokenError(ValueError):
    """The token does not hold what it says; the text says in which way."""


class SubjectKey:
    """The key of one subject. Raises ValueError where it is not 32 bytes."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a subject's key is {KEY_BYTES} bytes, not {len(key)}")
        self.id = hmac.digest(key, b"piperoll shred 1 id", "sha256")[:16].hex()
        self._salts = hmac.digest(key, b"piperoll shred 1 salt", "sha256")
        self._cipher = AESSIV(hmac.digest(key, b"piperoll shred 1 aes-siv", "sha512"))

    def seal(self, text: str, place: str) -> Token:
        """The token of a value (canonical JSON) at a place."""
        plain, where = _padded(text), place.encode("utf-8", "surrogatepass")
        salt = hmac.digest(self._salts, len(where).to_bytes(4, "big") + where + plain, "sha256")
        siv = self._cipher.encrypt(salt + plain, self._bound(where))
        commitment = sha256(salt + plain).digest()
        return Token(self.id, urlsafe_b64encode(commitment + siv).rstrip(b"=").decode())

    def open(self, token: Token, place: str) -> Any:
        """The value, a parsed JSON value. Raises BadTokenError where the token was changed, is from another place or under
        another key, or does not fit its commitment."""
        sealed = _decoded(token.sealed)
        try:
            opened = self._cipher.decrypt(sealed[_HASH:], self._bound(place.encode("utf-8", "surrogatepass")))
        except (InvalidTag, ValueError) as error:
            raise BadTokenError("changed, moved here from another place, or made with another key") from error
        if not hmac.compare_digest(sha256(opened).digest(), sealed[:_HASH]):
            raise BadTokenError("does not fit its commitment: not what was recorded")
        return json.loads(opened[_HASH:], parse_int=_whole)

    def _bound(self, place: bytes) -> list[bytes]:
        return [_VERSION, self.id.encode(), place]


def canonical(value: Any) -> str:
    """JSON without blanks, members in the order of their names, in which the same value is always the same text. Numbers
    must come as `Number`: they stay as they were written."""
    if type(value) is dict:
        return "{" + ",".join(f"{_quoted(name)}:{canonical(value[name])}" for name in sorted(value)) + "}"
    if type(value) is list:
        return "[" + ",".join(map(canonical, value)) + "]"
    return value if type(value) is Number else _quoted(value)


class Number(str):
    """A number as it is written: 1.10 stays 1.10, and no digit of a long one is lost."""

    __slots__ = ()


def _quoted(value: Any) -> str:
    """A string, true, false or null. Lone surrogates, which are no UTF-8, are escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isascii() else _LONE_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _whole(digits: str) -> int | str:
    """Python reads no whole number of more than 4,300 digits: such a one stays a text."""
    return int(digits) if len(digits) <= 4000 else digits


def _padded(text: str) -> bytes:
    plain = text.encode("utf-8")
    return plain + b" " * (-len(plain) % _BLOCK)


def _decoded(text: str) -> bytes:
    raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise BadTokenError("changed: not the base64url that we write")
    return raw
