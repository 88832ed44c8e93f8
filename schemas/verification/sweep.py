"""One fast pass over a range of a chain's rows: clean, or not. Ranges can be swept in any order and apart.

A sweep that is clean has checked all that `ChainVerifier` checks, and the borders are checked when the sweeps are joined
(`join`). A sweep that is not clean says nothing of what is wrong: the chain is then verified anew, in order, by
`ChainVerifier`, which tells what happened. Rows are looked at by column, many at once; one by one only where that does
not show that all is well.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

from schemas.record import ABSENT, Kind
from schemas.tlog.merkle import Frontier
from schemas.verification.bulk import Contents, Said, doubtful
from schemas.verification.contents import Content, check_content
from schemas.verification.ends import compare_head
from schemas.verification.erasures import ERASABLE, NOTHING_GONE, Coverage
from schemas.verification.image import ROW_BYTES, STRIDE, Image, Names
from schemas.verification.links import ChainInfo, Head, Place
from schemas.verification.result import ChainResult
from schemas.verification.rules import PLAIN, apply_rules

RANGE = 8192
"""Records of a range: a power of two, so that a range can stand for its hash."""
_Item = TypeVar("_Item")
_PLAIN = bytes(PLAIN)
_ERASABLE = frozenset(map(int, ERASABLE))


@dataclass(slots=True)
class Swept:
    """A clean range. `sealed` has the range's own frontier at each size asked for that ends in it; `frontier` that of all
    its records. `result` counts what was in it."""

    start: int
    result: ChainResult
    first_prev: bytes
    first: Place
    """Offset (of the first record that covers one), time and epoch of the first record."""
    last: Place
    frontier: Frontier
    sealed: list[tuple[int, list[bytes]]] = field(default_factory=list)


class Sweep:
    """Sweeps the records of one chain from `start` on: `records` to their end, then `contents` with their payload rows in
    order (never, for the leaves alone), `finish`. `sizes`: sizes of the chain's tree, rising, at which its root is wanted;
    `coverage`: which payloads are lawfully gone."""

    def __init__(
        self,
        chain: ChainInfo,
        start: int,
        sizes: Iterable[int] = (),
        coverage: Coverage = NOTHING_GONE,
        *,
        with_contents: bool = True,
    ) -> None:
        self._start = start
        self._coverage = coverage
        self._result = ChainResult(chain, with_contents)
        self._rows = Image(chain.chain_id)
        self._tree = _Tree(start, sizes)
        self._own: dict[int, Content] = {}
        self._at = 0
        self.clean = True

    def records(self, data: bytes, at: int) -> int:
        """Rows of audit.record as COPY gives them (`image.py`), from `at` on; returns where the first that is not whole
        begins. Nothing is looked at any more once a row is not clean."""
        if not self.clean:
            return len(data)
        whole = len(data) - (len(data) - at) % ROW_BYTES
        for begin in range(at, whole, STRIDE * ROW_BYTES):
            hashes = self._rows.add(data[begin : min(begin + STRIDE * ROW_BYTES, whole)])
            if hashes is None:
                self.clean = False
                return len(data)
            self._tree.extend(hashes)
        return whole

    def contents(self, rows: Contents) -> None:
        """The next payload rows of the range."""
        if not self.clean or not rows.seqs:
            return
        places = self._places(rows.seqs)
        if places is None:
            self.clean = False
            return
        said = Said(
            _bytes(self._rows.kinds, places), _some(self._rows.appended_us, places), self._named(places)
        )
        self.clean = not self._not_erased(places) and all(
            self._is_good(places[at], rows.row(at)) for at in doubtful(rows, said)
        )

    def finish(self) -> Swept | None:
        """The range, None where it is not clean."""
        rows, result = self._rows, self._result
        count = len(rows.seqs)
        if not self.clean or rows.seqs != list(range(self._start, self._start + count)) or not count:
            return None
        if result.with_contents and not self._all_gone(range(self._at, count)):
            return None
        first = Place(rows.first_prev, self._start, 0, None, rows.appended_us[0], rows.epochs[0])
        last = Place(b"", self._start, 0, None, rows.appended_us[0], rows.epochs[0])
        self._follow(rows, first, last)
        if result.found:
            return None
        last.last_hash, last.next_seq = rows.last_hash, self._start + count
        last.appended_us, last.epoch = rows.appended_us[-1], rows.epochs[-1]
        for kind in set(rows.kinds):
            result.kinds[kind] += rows.kinds.count(kind)
        result.first_appended_us, result.last_appended_us = rows.appended_us[0], rows.appended_us[-1]
        return Swept(
            self._start, result, rows.first_prev, first, last, self._tree.frontier, self._tree.sealed
        )

    def _places(self, seqs: Sequence[int]) -> Sequence[int] | None:
        """Which records these numbers are of, those passed over being lawfully gone; None where a number has no record,
        or a record two rows."""
        at, count = self._at, len(self._rows.seqs)
        upto = seqs[-1] - self._start + 1
        places: Sequence[int] = range(at, upto)
        if not at < upto <= count:
            return None
        if seqs != self._rows.seqs[at:upto]:
            places = [seq - self._start for seq in seqs]
            if places[0] < at or any(one >= other for one, other in pairwise(places)):
                return None
            if not self._all_gone(sorted({*range(at, upto)}.difference(places))):
                return None
        self._at = upto
        return places

    def _named(self, places: Sequence[int]) -> Names:
        names = self._rows.names(range(places[0], places[-1] + 1))
        if isinstance(places, range):
            return names
        return Names(*([column[at - places[0]] for at in places] for column in names))

    def _is_good(self, at: int, content: Content) -> bool:
        """Looks closely at one record and its payload row."""
        record = self._rows.record(at)
        if record.kind not in PLAIN:
            self._own[at] = content
        return not check_content(record, self._identity(at), content)

    def _identity(self, at: int) -> int | None:
        """The column as it is, but for 0, which also stands for null: then it is not sure, and no event's own."""
        return int.from_bytes(self._rows.names(range(at, at + 1)).identities[0], "big", signed=True) or None

    def _all_gone(self, places: Iterable[int]) -> bool:
        """Whether the records without a payload row commit to none, or an order covers them; counts these."""
        for at in places:
            record = self._rows.record(at)
            if check_content(record, self._identity(at), None):
                erased, retained = self._coverage.erased(record), self._coverage.retained(record)
                self._result.erased += erased
                self._result.retained += retained and not erased
                if not erased and not retained:
                    return False
        return True

    def _not_erased(self, places: Sequence[int]) -> bool:
        """Whether a payload is there that an erasure covers."""
        coverage, rows = self._coverage, self._rows
        if not coverage:
            return False
        named = [at for at in places if rows.offsets[at] in coverage.offsets]
        return any(rows.kinds[at] in _ERASABLE for at in named) or (
            bool(coverage.about)
            and any(
                rows.kinds[at] == Kind.ANNOTATION and rows.record(at).event_id in coverage.about
                for at in places
            )
        )

    def _follow(self, rows: Image, first: Place, last: Place) -> None:
        """Applies the rules to each record that may break one: to the first, and if the others do not simply follow each
        other, to those that do not."""
        count = len(rows.seqs)
        if count > 1 and _simply_follow(rows):
            self._apply(rows, 0, first, last)
            if last.next_offset == rows.offsets[1] and not last.closed:
                last.next_offset = rows.offsets[-1] + 1
                return
            done = 1
        else:
            done = 0
        for at in range(done, count):
            covers, moment, under = rows.offsets[at], rows.appended_us[at], rows.epochs[at]
            if (
                covers != last.next_offset
                or rows.kinds[at] not in PLAIN
                or moment < last.appended_us
                or under < last.epoch
                or last.closed
            ):
                self._apply(rows, at, first, last)
            else:
                last.next_offset, last.appended_us, last.epoch = covers + 1, moment, under

    def _apply(self, rows: Image, at: int, first: Place, last: Place) -> None:
        apply_rules(self._result, last, rows.record(at), self._own.get(at))
        if first.next_offset is None and rows.offsets[at] != ABSENT:
            first.next_offset = rows.offsets[at]


def _simply_follow(rows: Image) -> bool:
    """Whether all records behind the first are of plain kinds, one offset, time and epoch after the other."""
    offsets = rows.offsets[1:]
    return (
        not rows.kinds[1:].translate(None, _PLAIN)
        and offsets == list(range(offsets[0], offsets[0] + len(offsets)))
        and rows.appended_us == sorted(rows.appended_us)
        and rows.epochs == sorted(rows.epochs)
    )


def _some(column: list[_Item], places: Sequence[int]) -> list[_Item]:
    if isinstance(places, range):
        return column[places.start : places.stop]
    return [column[at] for at in places]


def _bytes(column: bytearray, places: Sequence[int]) -> bytes:
    if isinstance(places, range):
        return bytes(column[places.start : places.stop])
    return bytes(column[at] for at in places)


class _Tree:
    """The range's tree as its leaves come, and its frontier at each size asked for."""

    def __init__(self, start: int, sizes: Iterable[int]) -> None:
        self.frontier = Frontier()
        self.sealed: list[tuple[int, list[bytes]]] = []
        self._start = start
        self._sizes = deque(sizes)

    def extend(self, hashes: list[bytes]) -> None:
        """The next leaves."""
        while self._sizes and (upto := self._sizes[0] - self._start - self.frontier.size) <= len(hashes):
            self.frontier.extend(hashes[:upto])
            self.sealed.append((self._sizes.popleft(), list(self.frontier.hashes)))
            hashes = hashes[upto:]
        self.frontier.extend(hashes)


def join(
    parts: Sequence[Swept], before: Frontier | None = None
) -> tuple[ChainResult, Place, list[tuple[int, bytes]]] | None:
    """One chain from its clean ranges in order: what was found, where it ends, and its root at each size wanted. None
    where the ranges do not continue each other. `before`: the tree over the records that were passed over, a multiple of
    RANGE."""
    result, place = parts[0].result, parts[0].last
    passed = before or Frontier()
    ranges, roots = Frontier(passed.size // RANGE, passed.hashes), []
    for number, part in enumerate(parts):
        if number:
            if not _continues(place, part):
                return None
            _add(result, part.result)
            place = part.last
        for size, hashes in part.sealed:
            if size % RANGE:
                roots.append((size, Frontier(size, [*ranges.hashes, *hashes]).root()))
        if part.frontier.size == RANGE:
            ranges.append(part.frontier.hashes[0])
            if part.sealed and part.sealed[-1][0] % RANGE == 0:
                roots.append((part.sealed[-1][0], ranges.root()))
    return result, place, roots


def conclude(
    parts: Sequence[Swept], head: Head, before: Frontier | None = None
) -> tuple[ChainResult, list[tuple[int, bytes]]] | None:
    """A whole chain from its clean ranges, compared with its head: the result, and its root at each size wanted. None
    where it is not clean. Rows under numbers that the chain does not have are for the caller to look for."""
    joined = join(parts, before) if parts else None
    if joined is None:
        return None
    result, place, roots = joined
    compare_head(result, place, head)
    if result.found or place.last_hash != head.last_hash or place.next_seq != head.next_seq:
        return None
    result.next_seq, result.last_hash, result.next_offset = place.next_seq, place.last_hash, place.next_offset
    return result, roots


def _continues(place: Place, part: Swept) -> bool:
    first = part.first
    offset = first.next_offset
    return (
        place.next_seq == part.start
        and place.last_hash == part.first_prev
        and place.appended_us <= first.appended_us
        and place.epoch <= first.epoch
        and not place.closed
        and (offset is None or place.next_offset is None or offset == place.next_offset)
    )


def _add(result: ChainResult, more: ChainResult) -> None:
    for kind, count in more.kinds.items():
        result.kinds[kind] += count
    if result.first_offset is None:
        result.first_offset = more.first_offset
    result.skipped_offsets += more.skipped_offsets
    result.erased += more.erased
    result.retained += more.retained
    result.last_appended_us = more.last_appended_us
    result.close = more.close
