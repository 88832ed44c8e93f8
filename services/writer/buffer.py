"""Messages that were polled and are not linked yet, bounded by number, bytes and age."""

from __future__ import annotations

from typing import Any

from services.writer.consumer import Messages, TopicPartition

_OVERHEAD_BYTES = 200
"""What a message weighs beside its key, value and headers."""
_FIRST_GUESS_BYTES = 64 * 1024


class Buffer:
    """Times are seconds of any steady clock."""

    def __init__(self, most_records: int, most_bytes: int, most_age_s: float) -> None:
        self._most_records = most_records
        self._most_bytes = most_bytes
        self._most_age_s = most_age_s
        self._average = float(_FIRST_GUESS_BYTES)
        self.clear()

    def clear(self) -> None:
        """Forgets everything."""
        self._messages: Messages = {}
        self._records = 0
        self._bytes = 0
        self._since: float | None = None

    def add(self, messages: Messages, now: float) -> None:
        """More messages, in the order of their offsets."""
        for partition, some in messages.items():
            size = sum(map(_weight, some))
            self._messages.setdefault(partition, []).extend(some)
            self._records += len(some)
            self._bytes += size
            mean = size / len(some)
            self._average = max(mean, self._average + (mean - self._average) / 8)  # up at once, down slowly
            if self._since is None:
                self._since = now

    def drop(self, partition: TopicPartition) -> None:
        """Forgets what is held for a partition."""
        some = self._messages.pop(partition, [])
        self._records -= len(some)
        self._bytes -= sum(map(_weight, some))

    @property
    def room(self) -> int:
        """How many messages of the size lately seen still fit; 0 when it is full."""
        by_bytes = int((self._most_bytes - self._bytes) / self._average)
        left = min(self._most_records - self._records, by_bytes)
        return max(left, 0 if self._messages else 1)

    def wait_s(self, now: float) -> float | None:
        """Seconds until it is due by age; None while it is empty."""
        if self._since is None or not self._messages:
            return None
        return max(0.0, self._since + self._most_age_s - now)

    def is_due(self, now: float) -> bool:
        """Whether what is held is to be linked now."""
        return bool(self._messages) and (self.room == 0 or self.wait_s(now) == 0.0)

    def take(self) -> Messages:
        """Everything that is held, and forgets it."""
        messages = self._messages
        self.clear()
        return messages


def _weight(message: Any) -> int:
    return int(message.size_in_bytes) + _OVERHEAD_BYTES
