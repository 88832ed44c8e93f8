"""Which numbers of a source's sequence have come, and which are missing."""

from __future__ import annotations

import msgspec

MOST_GAPS = 256
"""Gaps of a source that are followed one by one; of more, the lowest two become one."""


class Gap(msgspec.Struct, array_like=True):
    """Numbers `first` to `last`, `missing` of which have not come. `turn` counts the times that the source began anew;
    `since_ms`: when it was noticed."""

    turn: int
    first: int
    last: int
    missing: int
    since_ms: int


class Sequence(msgspec.Struct):
    """Numbers from `first` to `top` have come, but for those in `gaps`. `latest_us`: the latest time of an event that
    opened a run."""

    first: int
    top: int
    latest_us: int
    turn: int = 0
    gaps: list[Gap] = []

    def take(self, first: int, last: int, at_us: int, now_ms: int) -> None:
        """The numbers `first` to `last` have come, the first with an event of the time `at_us`. A source that begins
        again at 1, later than all before, has begun anew: what is missing of its former numbers stays missing."""
        if first == 1 and at_us > self.latest_us and self._knows(1):
            self.turn += 1
            self.first, self.top = 1, last
        else:
            self._fill(first, last)
            if first > self.top + 1:
                self._miss(self.top + 1, first - 1, now_ms)
            elif last < self.first - 1:
                self._miss(last + 1, self.first - 1, now_ms)
            self.first, self.top = min(self.first, first), max(self.top, last)
        self.latest_us = max(self.latest_us, at_us)

    def due(self, before_ms: int) -> list[Gap]:
        """The gaps noticed before then."""
        return [gap for gap in self.gaps if gap.since_ms < before_ms]

    def tell(self, told: list[Gap]) -> None:
        """These are told, and followed no longer."""
        self.gaps = [gap for gap in self.gaps if gap not in told]

    def _knows(self, number: int) -> bool:
        inside = self.first <= number <= self.top
        return inside and not any(
            gap.turn == self.turn and gap.first <= number <= gap.last for gap in self.gaps
        )

    def _miss(self, first: int, last: int, now_ms: int) -> None:
        self.gaps.append(Gap(self.turn, first, last, last - first + 1, now_ms))
        self.gaps.sort(key=lambda gap: (gap.turn, gap.first))
        if len(self.gaps) > MOST_GAPS:
            one, two = self.gaps[:2]
            both = Gap(one.turn, one.first, two.last, one.missing + two.missing, one.since_ms)
            self.gaps[:2] = [both]

    def _fill(self, first: int, last: int) -> None:
        left: list[Gap] = []
        for gap in self.gaps:
            low, high = max(first, gap.first), min(last, gap.last)
            if gap.turn != self.turn or low > high:
                left.append(gap)
            elif (
                gap.missing < gap.last - gap.first + 1
            ):  # one of several: which of its numbers came is not known
                gap.missing -= high - low + 1
                left += [gap] if gap.missing > 0 else []
            else:
                parts = ((gap.first, low - 1), (high + 1, gap.last))
                left += [Gap(gap.turn, a, b, b - a + 1, gap.since_ms) for a, b in parts if a <= b]
        self.gaps = left


def in_words(gaps: list[Gap], most: int = 10) -> str:
    """`17-18, 25, 4 of 30-99`, and how many gaps more."""
    named = ", ".join(_in_words(gap) for gap in gaps[:most])
    return named + (f" and {len(gaps) - most} gaps more" if len(gaps) > most else "")


def _in_words(gap: Gap) -> str:
    if gap.first == gap.last:
        return str(gap.first)
    some = "" if gap.missing == gap.last - gap.first + 1 else f"{gap.missing:,} of "
    return f"{some}{gap.first}-{gap.last}"
