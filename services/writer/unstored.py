"""The messages of batches that are linked but not yet stored: what the database cannot tell of yet."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from services.writer.found import MOST_CANDIDATES, Item


@dataclass(slots=True)
class Entry:
    """An event that is linked, and its record's number."""

    seq: int
    item: Item


@dataclass(slots=True)
class _Batch:
    items: list[Item] = field(default_factory=list)
    seen: dict[int, list[Entry]] = field(default_factory=dict)


class Unstored:
    """Batches are stored in the order in which they were begun. What is stored is forgotten at once: with many
    partitions and large events, holding on to it would be most of the memory."""

    def __init__(self) -> None:
        self._batches: deque[_Batch] = deque()
        self._by_offset: dict[tuple[bytes, int], list[Item]] | None = None

    def begin(self) -> None:
        """A batch begins."""
        self._current = _Batch()
        self._batches.append(self._current)

    def stored(self) -> None:
        """The oldest batch is in the database, and every look-up from now on sees it."""
        self._batches.popleft()
        self._by_offset = None

    def remember(self, item: Item) -> None:
        """A message that is appended."""
        self._current.items.append(item)
        if self._by_offset is not None:
            _add(self._by_offset, item)

    def note(self, identity: int, seq: int, item: Item) -> None:
        """The identity of an event that is appended."""
        entries = self._current.seen.get(identity)
        if entries is None:
            self._current.seen[identity] = [Entry(seq, item)]
        elif len(entries) < MOST_CANDIDATES:
            entries.append(Entry(seq, item))

    def knows(self, identity: int) -> bool:
        """Whether an event with this identity is among them."""
        return any([identity in batch.seen for batch in self._batches])  # noqa: C419 - a list is quicker for one or two

    def entries(self, identity: int) -> list[Entry]:
        """The events with this identity, oldest first."""
        return [entry for batch in self._batches for entry in batch.seen.get(identity, ())]

    def forget_identities(self) -> None:
        """A new chain begins: repeats are looked for within one chain only."""
        for batch in self._batches:
            batch.seen = {}

    def at(self, topic_id: bytes, offset: int) -> list[Item]:
        """The messages of a source offset."""
        if self._by_offset is None:
            self._by_offset = {}
            for batch in self._batches:
                for item in batch.items:
                    _add(self._by_offset, item)
        return self._by_offset.get((topic_id, offset), [])


def _add(by_offset: dict[tuple[bytes, int], list[Item]], item: Item) -> None:
    if item.header is not None:
        by_offset.setdefault((item.header.topic_id, item.header.offset), []).append(item)
