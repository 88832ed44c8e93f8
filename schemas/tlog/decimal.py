"""Sizes and indexes on lines of their own: ASCII decimal without leading zeroes, below 2^63."""

from __future__ import annotations

from schemas.tlog.errors import MalformedError

LIMIT = 2**63


def decode(text: str, what: str) -> int:
    """The number. Raises MalformedError, which says of `what`."""
    if not (text.isascii() and text.isdigit()) or (text[0] == "0" and text != "0") or len(text) > 19:
        raise MalformedError(
            f"{what} is not a decimal number without leading zeroes below 2^63: {text[:40]!r}"
        )
    number = int(text)
    if number >= LIMIT:
        raise MalformedError(f"{what} is 2^63 or more: {text}")
    return number
