"""Where reports go. `directory:PATH` (relative: below REPORT_DIR) is delivered to by runs/directory.py."""

from __future__ import annotations

SCHEMES = ("directory",)
"""What can be delivered to."""


def check_target(target: str) -> str:
    """The target itself. Raises ValueError where nothing here delivers to it."""
    scheme, colon, rest = target.partition(":")
    if not colon or scheme not in SCHEMES or not rest:
        raise ValueError(f"a target is one of {', '.join(f'{name}:…' for name in SCHEMES)}")
    if not rest.isprintable() or len(target) > 500:
        raise ValueError("a target has no control characters and at most 500 characters")
    return target
