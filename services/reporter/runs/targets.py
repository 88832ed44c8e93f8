"""Where reports go: `directory:PATH` (relative: below REPORT_DIR), `mail:ADDRESS`, `webhook:URL`, `s3:BUCKET/PREFIX`."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from services.common.tls import is_private
from services.reporter.deliver.editions.settings import BUCKET

_ADDRESS = re.compile(r"[^\s<>,;\"'@]+@[^\s<>,;\"'@]+")


def _address(rest: str) -> str | None:
    return (
        None
        if _ADDRESS.fullmatch(rest)
        else "mail: is followed by a plain address, as in mail:name@example.org"
    )


def _url(rest: str) -> str | None:
    if is_private(rest):
        return None
    return "webhook: is followed by an address that begins with https:// (http:// to this machine alone)"


def _bucket(rest: str) -> str | None:
    return None if BUCKET.fullmatch(rest) else "s3: is followed by BUCKET or BUCKET/PREFIX"


_CHECKS: dict[str, Callable[[str], str | None]] = {
    "directory": lambda _rest: None,
    "mail": _address,
    "webhook": _url,
    "s3": _bucket,
}
SCHEMES = tuple(_CHECKS)
"""What can be delivered to."""


def check_target(target: str) -> str:
    """The target itself. Raises ValueError where nothing here delivers to it."""
    scheme, colon, rest = target.partition(":")
    if not colon or scheme not in SCHEMES or not rest:
        raise ValueError(f"a target is one of {', '.join(f'{name}:…' for name in SCHEMES)}")
    if not rest.isprintable() or len(target) > 500:
        raise ValueError("a target has no control characters and at most 500 characters")
    wrong = _CHECKS[scheme](rest)
    if wrong is not None:
        raise ValueError(wrong)
    return target


def shown(target: str) -> str:
    """For logs, lists and records: a webhook's address without what may be a secret in it."""
    scheme, _, rest = target.partition(":")
    return (
        f"webhook:{urlsplit(rest).scheme}://{urlsplit(rest).netloc.rpartition('@')[2]}/…"
        if scheme == "webhook"
        else target
    )
