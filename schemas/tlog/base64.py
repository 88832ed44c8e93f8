"""Base64 as RFC 4648 section 4 has it, where each byte string has exactly one spelling."""

from __future__ import annotations

from base64 import b64decode, b64encode

from schemas.tlog.errors import MalformedError


def encode(data: bytes) -> str:
    """With padding, on one line."""
    return b64encode(data).decode("ascii")


def decode(text: str) -> bytes:
    """The bytes. Raises MalformedError for any other spelling than that of `encode`."""
    try:
        data = b64decode(text, validate=True)
    except ValueError as error:
        raise MalformedError(f"not base64: {text[:60]!r}") from error
    # Unused bits of the last character may be set: a second spelling of the same bytes.
    if encode(data) != text:
        raise MalformedError(f"base64 that does not read back as it was: {text[:60]!r}")
    return data


def decode_hash(text: str) -> bytes:
    """32 bytes. Raises MalformedError."""
    data = decode(text)
    if len(data) != 32:
        raise MalformedError(f"a hash has 32 bytes, this one {len(data)}: {text[:60]!r}")
    return data
