"""Three families of errors, each a decision that one place takes:

PiperollError
├── PoisonError      this event cannot be taken: dead letter and poison record, go on   (schemas.events)
├── TransientError   it may work later: hold, back off, try again; nothing is acknowledged meanwhile
└── FatalError       stop the process before anything more is acknowledged; a restart recovers
    └── ConfigurationError   a setting is missing or wrong; the text says what to set

The message is the documentation: it says what is wrong and what to do.
"""

from __future__ import annotations

from schemas.events import PoisonError

__all__ = ["ConfigurationError", "FatalError", "PoisonError", "TransientError"]


class TransientError(Exception):
    """It may work later."""


class FatalError(Exception):
    """Going on could lose an event or hide one: stop, and let a restart recover."""


class ConfigurationError(FatalError):
    """A setting is missing or wrong."""
