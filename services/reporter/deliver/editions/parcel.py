"""What is delivered, and how what goes wrong is told apart: surely not there, or perhaps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from services.common.errors import TransientError


class UncertainError(TransientError):
    """The other side may have taken it: its answer did not come. It is sent again under the same name."""


@dataclass(frozen=True)
class Letter:
    """What a message says. Nothing that came from an event is in `subject`; `text` is plain, `html` runs nothing and asks for
    nothing."""

    subject: str
    text: str
    html: str | None = None
    facts: dict[str, Any] | None = None
    """For programs: edition, sha256, period, verdict, figures."""


@dataclass(frozen=True)
class Parcel:
    """One delivery. `id` is the same whenever it is tried again (a Message-ID: `<…@reports.piperoll>`); `address` is the target
    without its scheme; `files` are complete."""

    id: str
    address: str
    name: str
    letter: Letter
    files: Sequence[Path] = ()

    @property
    def key(self) -> str:
        """The id without its brackets, as an idempotency key."""
        return self.id.strip("<>").partition("@")[0]


Begin = Callable[[], Awaitable[None]]
"""Notes, durably, that from now on the other side may have it."""


class Outlet(Protocol):
    """A way out. `deliver` may be called again with the same parcel; it returns what the other side said, for the receipt."""

    async def deliver(self, parcel: Parcel, begin: Begin) -> dict[str, Any]:
        """Waits for `begin` as late as it can, once, before anything is sent: a process that dies before has sent nothing. Raises
        UncertainError where it may be delivered, TransientError where it is not."""
