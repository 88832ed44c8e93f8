"""One error for everything that keeps the local stack from running."""

from __future__ import annotations


class StackError(Exception):
    """Broker, database or a service cannot run here; the text says what to do about it."""
