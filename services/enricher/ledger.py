"""Which ranges of offsets are done: the only thing that decides what may be committed.

Faust acknowledges more than was processed (messages that it skips, agents that raise or are cancelled), so its own
bookkeeping is not asked. A range is registered when it is fetched, completed by the agent after the broker has
acknowledged all that it produced, and forgotten at every revocation and seek.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable


class Range:
    """Offsets `first` to `last` of one partition, fetched together; compared by identity."""

    __slots__ = ("done", "first", "last", "since")

    def __init__(self, first: int, last: int, since: float) -> None:
        self.first = first
        self.last = last
        self.since = since
        self.done = False


class Ledger:
    """Ranges by partition, in the order in which they were fetched. `Partition` is any hashable."""

    def __init__(self) -> None:
        self._ranges: dict[Hashable, deque[Range]] = {}
        self._position: dict[Hashable, int] = {}

    def register(self, partition: Hashable, first: int, last: int, now: float) -> Range:
        """A range that was fetched. `now` in seconds of a monotonic clock."""
        made = Range(first, last, now)
        self._ranges.setdefault(partition, deque()).append(made)
        return made

    def complete(self, finished: Range) -> None:
        """All consequences of the range are durable. Without effect if it was forgotten in between."""
        finished.done = True

    def holds(self, partition: Hashable, wanted: Range) -> bool:
        """Whether the range is still ours to complete: neither forgotten nor committed."""
        return any(held is wanted for held in self._ranges.get(partition, ()))

    def position(self, partition: Hashable) -> int | None:
        """The offset up to which (exclusive) everything fetched is done: what may be committed."""
        ranges = self._ranges.get(partition)
        while ranges and ranges[0].done:
            self._position[partition] = ranges.popleft().last + 1
        return self._position.get(partition)

    def partitions(self) -> list[Hashable]:
        """The partitions that have or had ranges since they were assigned."""
        return list(self._ranges)

    def forget(self, partitions: Iterable[Hashable]) -> None:
        """Revoked or sought: what was fetched before is no longer ours to commit."""
        for partition in partitions:
            self._ranges.pop(partition, None)
            self._position.pop(partition, None)

    def stuck(self, now: float, limit_s: float) -> list[Hashable]:
        """Partitions whose leading range is not done after `limit_s` seconds while later ranges wait behind it."""
        return [
            partition
            for partition, ranges in self._ranges.items()
            if len(ranges) > 1 and not ranges[0].done and now - ranges[0].since > limit_s
        ]
