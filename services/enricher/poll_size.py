"""How many records to take at once out of what was fetched, so that they come to about so many bytes.

aiokafka counts records only. With events of a megabyte it would copy everything that it has fetched of all partitions
at once, while it fetches as much again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_FIRST = 64
"""Before anything is known of their size."""


class PollSize:
    """`records` is what to ask for next: at most `most`, at least one."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self.records = min(most, _FIRST)
        self._most = most
        self._most_bytes = most_bytes

    def note(self, taken: list[Any]) -> None:
        """Learns from the records taken last."""
        if taken:
            self.records = max(1, min(self._most, self._most_bytes * len(taken) // sum(weights_of(taken))))


def weights_of(records: Iterable[Any]) -> list[int]:
    """About how many bytes of memory each record takes."""
    return [len(record.value or b"") + (len(record.key) if record.key else 0) + 100 for record in records]
