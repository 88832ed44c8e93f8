"""Several witnesses as one target: all are given the same checkpoint, since a quorum is of cosignatures on one.

The next one is given when each has taken it, or is in trouble: one that is away does not hold up the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from services.writer.sealer.targets.courier import Carrier, Courier, Desk


class Together:
    """A target (outlet.Target) of several couriers."""

    def __init__(self, name: str, carriers: Sequence[Carrier], desk: Desk) -> None:
        self.name = name
        self._couriers = [Courier(carrier, desk, self._hand_out) for carrier in carriers]
        self._newest: tuple[int, bytes] | None = None

    def offer(self, size: int, note: bytes) -> None:
        """The newest checkpoint. Does not block."""
        self._newest = (size, note)
        self._hand_out()

    async def close(self) -> None:
        """Gives up what is under way."""
        self._newest = None
        await asyncio.gather(*(courier.close() for courier in self._couriers))

    def _hand_out(self) -> None:
        if self._newest is None or any(courier.busy for courier in self._couriers):
            return
        offered, self._newest = self._newest, None
        for courier in self._couriers:
            courier.offer(*offered)
