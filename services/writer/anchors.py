"""Time anchors: once an hour a chain that has news gets a record with the last checkpoint of the seal log in it. What
stands behind it was written after that checkpoint was signed, and cosigned: nobody can have made it up before.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from schemas.own_bodies import Stamped, TimeAnchor
from services.common.logging import get_logger
from services.writer.chain import own_body
from services.writer.store import LastSeal, Store

log = get_logger(__name__)
_KEPT_S = 60.0
_MOST_BYTES = 60_000


class Anchors:
    """The body of the next time anchor, asked of the database once a minute at most."""

    def __init__(self, store: Store, seconds: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._seconds = seconds
        self._body: bytes | None = None
        self._until = float("-inf")

    async def body(self) -> bytes | None:
        """None where nothing is sealed yet. Raises what the store raises."""
        if self._seconds() >= self._until:
            seal = await self._store.last_seal()
            self._body = None if seal is None else anchor_body(seal)
            self._until = self._seconds() + _KEPT_S
        return self._body


def anchor_body(seal: LastSeal) -> bytes | None:
    """None where what the database has is no checkpoint that fits a record: no anchor then, and nothing is held up."""
    note = seal.note + b"".join(seal.lines or ())
    try:
        checkpoint = note.decode()
    except UnicodeDecodeError:
        checkpoint = ""
    if not checkpoint or len(note) > _MOST_BYTES:
        log.warning("checkpoint_unusable", bytes=len(note))
        return None
    stamped = None
    if seal.stamp_size is not None and seal.stamp_hash is not None:
        stamped = Stamped(seal.stamp_size, seal.stamp_hash.hex())
    return own_body(msgspec.to_builtins(TimeAnchor(checkpoint, stamped)))
