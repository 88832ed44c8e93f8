"""Time, injected where it decides something, so that tests set it."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Microseconds since 1970 UTC."""


def system_clock() -> int:
    """The machine's time in microseconds since 1970 UTC."""
    return time.time_ns() // 1000
