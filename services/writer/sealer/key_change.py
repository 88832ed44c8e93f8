"""A change of the key: recorded on audit.system, sealed by the old key alone, then signed by both.

So whatever the new key signs comes after a seal of the old one that covers the record of the change: who trusts the old
key has its word for the new one.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

from schemas.commitment import identity_hash
from services.common.clock import Clock
from services.common.logging import get_logger
from services.writer.sealer.book import SEAL_PATH, SEAL_TREE, Book
from services.writer.sealer.key import Keys
from services.writer.sealer.outlet import Outlet
from services.writer.sealer.store import Store

log = get_logger(__name__)
TYPE = "piperoll.key-change"


class KeyChange:
    """Runs a change to its end, a look at a time. `pending`: both keys sign from now on, and the next seal is to be made
    at once, so that the new one is seen to."""

    def __init__(self, keys: Keys, origin: str, clock: Clock) -> None:
        self._keys = keys
        self._origin = f"{origin}/{SEAL_PATH}"
        self._clock = clock
        self._said = False
        self.pending = False

    async def look(self, book: Book, store: Store, outlet: Outlet) -> None:
        """Says the change if it is not recorded, and lets the next key sign once its record is sealed."""
        if self._keys.following is None or self._keys.overlap:
            return
        event_id = change_id(self._keys, self._origin)
        recorded = await store.own_event(identity_hash("own-event", event_id))
        if recorded is None:
            if not self._said:
                self._said = await outlet.record(change_event(self._keys, self._origin, self._clock()))
            return
        tree, seq = recorded
        if any(chain.tree == tree and seq < chain.size for chain in book.memory.chains.values()):
            self._keys.overlap = self.pending = True
            log.info("both_keys_sign", change=event_id, chain=tree, seq=seq)

    async def sealed(self, book: Book, outlet: Outlet) -> None:
        """After a seal by both: the checkpoints of chains without news get the second line too. A crash before that
        leaves it to the start, which publishes all of them once more."""
        if self.pending:
            await asyncio.to_thread(_sign_again, book, outlet)
            self.pending = False


def _sign_again(book: Book, outlet: Outlet) -> None:
    for tree in book.published_again():
        if tree.tree != SEAL_TREE:
            outlet.directory.replace_checkpoint(tree.path, tree.checkpoint.note)


def change_id(keys: Keys, origin: str) -> str:
    """Follows from the two keys: said again, it is the same event."""
    assert keys.following is not None
    ids = [key.renamed(origin).verifier.key_id.hex() for key in (keys.current, keys.following)]
    return f"sealer:key-change:{ids[0]}:{ids[1]}"


def change_event(keys: Keys, origin: str, now_us: int) -> bytes:
    """The event of our own, as JSON."""
    assert keys.following is not None
    said = {
        "specversion": "1.0",
        "id": change_id(keys, origin),
        "source": "piperoll/sealer",
        "type": TYPE,
        "time": datetime.fromtimestamp(now_us / 1_000_000, UTC).isoformat(),
        "datacontenttype": "application/json",
        "data": {
            "old_vkey": keys.current.renamed(origin).verifier.vkey(),
            "new_vkey": keys.following.renamed(origin).verifier.vkey(),
        },
    }
    return json.dumps(said).encode()
