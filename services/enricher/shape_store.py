"""The readings of shapes in memory: bounded, the least recently used out. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

from services.enricher.shape_reading import SharedReading
from services.enricher.shapes import VALUE_LIMIT, Shape

CAPACITY = 50_000
VALUES_LIMIT = VALUE_LIMIT
"""Values of one discriminator of one family of shapes (64): beyond them there is no shared reading."""
RETRY_MS = 24 * 3600 * 1000


class Withheld(NamedTuple):
    """No reading is to come before `until_ms` (milliseconds since 1970 UTC), and why."""

    reason: str
    until_ms: int


class ShapeStore:
    """Readings by shape."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._found: OrderedDict[Shape, SharedReading | Withheld] = OrderedDict()

    def __len__(self) -> int:
        return len(self._found)

    def get(self, shape: Shape) -> SharedReading | Withheld | None:
        """What is known of a shape."""
        found = self._found.get(shape)
        if found is not None and len(self._found) * 2 > self._capacity:  # before, nothing goes out for long
            self._found.move_to_end(shape)
        return found

    def put(self, shape: Shape, reading: SharedReading | Withheld) -> None:
        """Knows it from now on."""
        self._found[shape] = reading
        self._found.move_to_end(shape)
        if len(self._found) > self._capacity:
            self._found.popitem(last=False)


class Families:
    """Which values the discriminators of a family have had: a field with more than 64 tells no kinds of events apart."""

    def __init__(self, capacity: int = CAPACITY // 10) -> None:
        self._capacity = capacity
        self._values: OrderedDict[tuple[Any, ...], list[set[str]]] = OrderedDict()

    def admits(self, shape: Shape) -> bool:
        """Whether a reading of the shape may be made; if so, its values count from now on."""
        seen = self._values.setdefault(shape.family, [set() for _ in shape.values])
        self._values.move_to_end(shape.family)
        if len(self._values) > self._capacity:
            self._values.popitem(last=False)
        if any(
            len(known) >= VALUES_LIMIT and value not in known
            for known, value in zip(seen, shape.values, strict=True)
        ):
            return False
        for known, value in zip(seen, shape.values, strict=True):
            known.add(value)
        return True
