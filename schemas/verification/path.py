"""The true path through a stretch of a chain that does not verify.

The stretch begins behind the last good record and ends with records that are good again (or at the head). The path is
walked backwards by hash: a record whose stored hash is wanted but whose leaf hashes otherwise was edited; one that
stands at the wanted place with another hash was rewritten together with its hash; where none stands, records are gone;
what is left over does not belong there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from schemas.verification.links import Head, Link, Place


class State(Enum):
    """How a record stands on the true path."""

    INTACT = "intact"
    EDITED = "edited"
    REWRITTEN = "rewritten"


@dataclass(slots=True)
class Step:
    """A record on the path, its true number, and the hash that the record after it names (None: not known)."""

    link: Link
    seq: int
    state: State
    wanted: bytes | None = None


@dataclass(slots=True)
class Path:
    """The true path in its order, the numbers of which no record is left, the rows that are not on it."""

    steps: list[Step] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    leftover: list[Link] = field(default_factory=list)


@dataclass(slots=True)
class _Free:
    """The rows not yet on the path, found by hash or by number."""

    place: Place
    links: dict[int, Link]
    digests: dict[bytes, int]
    stored: dict[bytes, int]
    numbers: dict[int, int]
    columns: dict[int, int]

    @classmethod
    def of(cls, links: list[Link], place: Place) -> _Free:
        made = cls(place, dict(enumerate(links)), {}, {}, {}, {})
        for key, item in made.links.items():
            if item.record is not None:
                made.digests[item.digest] = key
                if item.sound:
                    made.numbers.setdefault(item.record.seq, key)
            made.stored[item.row.record_hash] = key
            made.columns.setdefault(item.row.seq - place.shift, key)
        return made

    def take(self, table: dict[Any, int], key: Any) -> Link | None:
        return self.links.pop(table.get(key, -1), None)

    def take_below(self, at: int) -> tuple[Link, int] | None:
        """The row with the highest number below `at`, and that number."""
        numbers = [(number, key) for number, key in self.numbers.items() if number < at and key in self.links]
        numbers += [
            (number, key)
            for number, key in self.columns.items()
            if number < at and key in self.links and not self.links[key].sound
        ]
        if not numbers:
            return None
        number, key = max(numbers)
        return self.links.pop(key), number


def true_path(place: Place, links: list[Link], head: Head | None) -> Path:
    """The records behind `place` as the hashes say they were; with `head`, the rows are the chain's last ones."""
    path, free = Path(), _Free.of(links, place)
    if head is None:
        last = free.links.pop(len(links) - 1)
        seq = last.record.seq if last.record is not None and last.sound else last.row.seq - place.shift
        wanted, at = _append(path, Step(last, seq, _by_itself(last), last.row.record_hash))
    else:
        wanted, at = head.last_hash, head.next_seq - 1
    while at >= place.next_seq:
        step = _by_hash(free, wanted, at) or _by_number(free, wanted, at)
        if step is None:
            lower = None if wanted == place.last_hash else free.take_below(at)
            path.gaps.append((place.next_seq if lower is None else lower[1] + 1, at))
            if lower is None:
                break
            step = Step(lower[0], lower[1], _by_itself(lower[0]))
        wanted, at = _append(path, step)
    path.steps.reverse()
    path.gaps.reverse()
    path.leftover = list(free.links.values())
    return path


def _append(path: Path, step: Step) -> tuple[bytes | None, int]:
    """Puts a step on the path; returns its predecessor's hash (None where an edited leaf cannot tell) and number."""
    path.steps.append(step)
    record = step.link.record
    trusted = step.state is State.INTACT and record is not None
    return record.prev if trusted and record is not None else None, step.seq - 1


def _by_hash(free: _Free, wanted: bytes | None, at: int) -> Step | None:
    if wanted is None:
        return None
    found = free.take(free.digests, wanted)
    if found is not None and found.record is not None:
        return Step(found, found.record.seq, State.INTACT, wanted)
    found = free.take(free.stored, wanted)
    return None if found is None else Step(found, at, State.EDITED, wanted)


def _by_number(free: _Free, wanted: bytes | None, at: int) -> Step | None:
    if wanted == free.place.last_hash:
        return None  # the path ends here: what should stand between is gone
    found = free.take(free.numbers, at) or free.take(free.columns, at)
    if found is None:
        return None
    if wanted is not None:
        return Step(found, at, State.REWRITTEN, wanted)
    return Step(found, at, _by_itself(found))


def _by_itself(item: Link) -> State:
    """How a row looks as long as no record after it vouches for it."""
    return State.INTACT if item.sound else State.EDITED
