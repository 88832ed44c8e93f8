"""Rows of audit.record as bytes of one width, the way PostgreSQL's COPY in binary hands them out, checked many at once.

Each cell has its length in front (the columns that may be null are asked for with `ABSENT` instead). A step of the
row's width through the bytes takes one byte of every row: two columns of all rows are compared without looking at a row.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from struct import Struct
from typing import Any, NamedTuple

from schemas.record import ABSENT, LABEL, RECORD_BYTES, Record, unpack
from schemas.verification.links import Row

_ROW = Struct(">h iq ih iq iq iq iq i32s i227s")
ROW_BYTES = _ROW.size
_CELLS = ((6, 8), (18, 2), (24, 8), (36, 8), (48, 8), (60, 8), (72, 32), (108, RECORD_BYTES))
"""Where a cell's content begins, and its length: the columns of Row in their order."""
_LEAF = 108
_SAME = ((6, 30, 8), (19, 13, 1), (24, 82, 8), (36, 74, 8), (48, 99, 8))
"""seq, kind (its lower byte), source_offset, appended_us, event_time_us: place in the row, in the leaf, length."""
_CHAIN_ID = _LEAF + 14
_KIND = 19
_STRIDE = 256
"""Rows compared at a time, few enough to stay in the processor's cache."""

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


_CONSTANTS = [(at, bytes([value]) * _STRIDE) for at, value in _constants()]
_PAIRS = [(at + k, _LEAF + of_leaf + k) for at, of_leaf, length in _SAME for k in range(length)]


class Names(NamedTuple):
    """What payload rows are compared with: a column of audit.record (as its 8 bytes) and four fields of the leaf."""

    identities: list[bytes]
    event_ids: list[bytes]
    producers: list[bytes]
    payloads: list[bytes]
    enrichments: list[bytes]


class Image(NamedTuple):
    """Rows whose columns and hash are what their leaf says, by column. `kinds`: one byte a row. An offset is ABSENT
    where there is none."""

    leaves: list[bytes]
    digests: list[bytes]
    prevs: list[bytes]
    seqs: list[int]
    kinds: bytes
    offsets: list[int]
    appended_us: list[int]
    epochs: list[int]

    def record(self, at: int) -> Record:
        """One record, decoded."""
        return Record._make(unpack(self.leaves[at])[1:])


def read_image(image: bytes, chain_id: bytes) -> Image | None:
    """The rows of one chain; None where there are none, or a row is not what its leaf says."""
    rows, over = divmod(len(image), ROW_BYTES)
    if over or not rows or not _agrees(image, chain_id):
        return None
    (leaves,) = _columns(image, *_LEAVES)
    seqs, offsets, appended_us, stored, prevs, epochs = _columns(image, *_LINKS)
    digests = [sha256(b"\0" + leaf).digest() for leaf in leaves]
    if digests != stored:
        return None
    return Image(leaves, digests, prevs, seqs, image[_KIND::ROW_BYTES], offsets, appended_us, epochs)


def read_names(image: bytes) -> Names:
    """The names and commitments of rows that `read_image` has read."""
    return Names(*_columns(image, *_NAMES))


def make_image(rows: Iterable[Row]) -> bytes:
    """Rows as COPY would give them. Raises struct.error where a row is not of the table's form."""
    made = []
    for row in rows:
        offset, event_us = (
            ABSENT if item is None else item for item in (row.source_offset, row.event_time_us)
        )
        cells = (row.seq, row.kind, offset, row.appended_us, event_us, row.identity_hash or 0)
        lengths = [length for _, length in _CELLS]
        numbers = [item for pair in zip(lengths, cells, strict=False) for item in pair]
        made.append(
            _ROW.pack(len(_CELLS), *numbers, len(row.record_hash), row.record_hash, len(row.leaf), row.leaf)
        )
    return b"".join(made)


def _columns(image: bytes, row: str, values: int) -> list[list[Any]]:
    """Values of all rows, by column; many rows at once, since one by one they cost three times as much."""
    flat: list[Any] = []
    for at in range(0, len(image), _STRIDE * ROW_BYTES):
        rows = min(_STRIDE, (len(image) - at) // ROW_BYTES)
        flat += _struct(row, rows).unpack_from(image, at)
    return [flat[column::values] for column in range(values)]


@lru_cache(maxsize=64)
def _struct(row: str, rows: int) -> Struct:
    return Struct(">" + row * rows)


def _agrees(image: bytes, chain_id: bytes) -> bool:
    """Whether each row has cells of the right lengths, a leaf of this chain, and columns as the leaf has them."""
    constants = [
        *_CONSTANTS,
        *((at, bytes([value]) * _STRIDE) for at, value in enumerate(chain_id, _CHAIN_ID)),
    ]
    for start in range(0, len(image), _STRIDE * ROW_BYTES):
        some = image[start : start + _STRIDE * ROW_BYTES]
        rows = len(some) // ROW_BYTES
        for at, wanted in constants:
            if some[at::ROW_BYTES] != wanted[:rows]:
                return False
        for column, of_leaf in _PAIRS:
            if some[column::ROW_BYTES] != some[of_leaf::ROW_BYTES]:
                return False
    return True
