"""Rows of audit.record as bytes of one width, the way PostgreSQL's COPY in binary hands them out, checked many at once.

Each cell has its length in front (the columns that may be null are asked for with `ABSENT` instead). A step of the
row's width through the bytes takes one byte of every row: two columns of all rows are compared without looking at a row.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from struct import Struct
from typing import Any, NamedTuple

from schemas.record import LABEL, RECORD_BYTES, Record, unpack
from schemas.tlog.merkle import leaf_hashes

ROW_BYTES = Struct(">h iq ih iq iq iq iq i32s i227s").size
_CELLS = ((6, 8), (18, 2), (24, 8), (36, 8), (48, 8), (60, 8), (72, 32), (108, RECORD_BYTES))
"""Where a cell's content begins, and its length: the columns of Row in their order."""
_LEAF = 108
_SAME = ((6, 30, 8), (19, 13, 1), (24, 82, 8), (36, 74, 8), (48, 99, 8))
"""seq, kind (its lower byte), source_offset, appended_us, event_time_us: place in the row, in the leaf, length."""
_CHAIN_ID = _LEAF + 14
_KIND = 19
STRIDE = 512
"""Rows looked at together, few enough to stay in the processor's cache."""
_UNPACKED = 64
"""Rows that one Struct takes apart: one by one they cost three times as much."""

_LEAVES = (f"{_LEAF}x{RECORD_BYTES}s", 1)
_LINKS = ("6xq10xq4xq24x4x32s4x38x32sI153x", 6)
_NAMES = ("60x8s147x32s16s8x32s32s", 5)
"""Formats of a row, x what is passed over, and how many values each takes of it."""


def _constants() -> list[tuple[int, int]]:
    """Bytes that are the same in every row, place and value: lengths, the kind's upper byte, the leaf's label."""
    found = list(enumerate(len(_CELLS).to_bytes(2, "big")))
    for at, length in _CELLS:
        found += enumerate(length.to_bytes(4, "big"), at - 4)
    return [*found, (_KIND - 1, 0), *enumerate(LABEL, _LEAF)]


def _stretched(bytes_of_rows: Iterable[tuple[int, int]]) -> list[tuple[int, bytes]]:
    return [(at, bytes([value]) * STRIDE) for at, value in bytes_of_rows]


_CONSTANTS = _stretched(_constants())
_PAIRS = [(at + k, _LEAF + of_leaf + k) for at, of_leaf, length in _SAME for k in range(length)]


class Names(NamedTuple):
    """What payload rows are compared with: a column of audit.record (as its 8 bytes) and four fields of the leaf."""

    identities: list[bytes]
    event_ids: list[bytes]
    producers: list[bytes]
    payloads: list[bytes]
    enrichments: list[bytes]


class Image:
    """The rows of a part of one chain by column, in the order in which they came: each with the columns and the hash that
    its leaf says, and linked to the one before. `kinds`: one byte a row; an offset is ABSENT where there is none."""

    def __init__(self, chain_id: bytes) -> None:
        self._bytes = bytearray()
        self._constants = [*_CONSTANTS, *_stretched(enumerate(chain_id, _CHAIN_ID))]
        self.first_prev = b""
        self.last_hash = b""
        self.seqs: list[int] = []
        self.kinds = bytearray()
        self.offsets: list[int] = []
        self.appended_us: list[int] = []
        self.epochs: list[int] = []

    def add(self, rows: bytes) -> list[bytes] | None:
        """Takes the next rows, STRIDE at most; returns their hashes, None where a row is not as it must be."""
        count, over = divmod(len(rows), ROW_BYTES)
        if over or not 0 < count <= STRIDE or not self._agrees(rows, count):
            return None
        seqs, offsets, appended_us, stored, prevs, epochs = _columns(rows, range(count), *_LINKS)
        (leaves,) = _columns(rows, range(count), *_LEAVES)
        hashes = leaf_hashes(leaves)
        if not self._bytes:
            self.first_prev = self.last_hash = prevs[0]
        if hashes != stored or prevs != [self.last_hash, *hashes[:-1]]:
            return None
        self._bytes += rows
        self.last_hash = hashes[-1]
        self.seqs += seqs
        self.kinds += rows[_KIND::ROW_BYTES]
        self.offsets += offsets
        self.appended_us += appended_us
        self.epochs += epochs
        return hashes

    def record(self, at: int) -> Record:
        """One record, decoded."""
        begin = at * ROW_BYTES + _LEAF
        return Record._make(unpack(self._bytes[begin : begin + RECORD_BYTES])[1:])

    def names(self, places: range) -> Names:
        """The names and commitments of the rows at these places, one after the other."""
        return Names(*_columns(self._bytes, places, *_NAMES))

    def _agrees(self, rows: bytes, count: int) -> bool:
        """Whether each row has cells of the right lengths, a leaf of this chain, and columns as the leaf has them."""
        for at, wanted in self._constants:
            if rows[at::ROW_BYTES] != wanted[:count]:
                return False
        return all(rows[column::ROW_BYTES] == rows[of_leaf::ROW_BYTES] for column, of_leaf in _PAIRS)


def _columns(image: bytes | bytearray, places: range, row: str, values: int) -> list[list[Any]]:
    """Values of the rows at these places, one after the other, by column."""
    flat: list[Any] = []
    for at in range(places.start, places.stop, _UNPACKED):
        flat += _struct(row, min(_UNPACKED, places.stop - at)).unpack_from(image, at * ROW_BYTES)
    return [flat[column::values] for column in range(values)]


@cache
def _struct(row: str, rows: int) -> Struct:
    return Struct(">" + row * rows)
