"""What PostgreSQL sends for COPY … TO STDOUT (FORMAT binary), taken apart: half the work of rows one by one.

Format: 11 bytes of signature, u32 flags, u32 length of an extension; then for each row u16 columns, and for each column
u32 length (-1 for null) and the bytes; at the end -1 instead of a number of columns. All big-endian.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

from schemas.verification.bulk import Contents
from services.common.errors import TransientError

PORTION = 128 * 1024
"""Bytes of rows that are looked at together: few enough for the processor's cache, enough for work by column."""
_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""With no flags and no extension."""
_END = b"\xff\xff"
_POSTGRES_EPOCH_US = 946_684_800_000_000
"""PostgreSQL counts from the year 2000."""
_COLUMNS = 6
_regular = Struct(">hiqiqi32si32si")
_head = _regular.unpack_from
_HEAD_BYTES = _regular.size
_i16 = Struct(">h").unpack_from
_i32 = Struct(">i").unpack_from
_i64 = Struct(">q").unpack


class Rows:
    """Takes a stream of rows in pieces, and hands them on in portions of about PORTION bytes: `take` is given bytes and where
    the first row in them begins, and returns where the first that is not whole begins. At most a portion, a piece and a row
    are in memory."""

    def __init__(self, take: Callable[[bytes, int], int]) -> None:
        self._take = take
        self._parts: list[bytes] = []
        self._held = 0
        self._wanted = max(PORTION, len(_SIGNATURE))
        self._begun = False

    def piece(self, piece: bytes) -> None:
        """The next piece."""
        self._parts.append(piece)
        self._held += len(piece)
        if self._held >= self._wanted:
            self._hand_on()

    def end(self) -> bytes:
        """That was all; what is left of it is no whole row. Raises TransientError if the stream did not come to its end."""
        data = b"".join(self._parts)
        if not data.endswith(_END):
            raise TransientError("PostgreSQL's COPY in binary ended too early")
        self._parts = [data.removesuffix(_END)]
        self._hand_on()
        return self._parts[0]

    def _hand_on(self) -> None:
        data = b"".join(self._parts)
        at = 0
        if not self._begun:
            if not data.startswith(_SIGNATURE):
                raise TransientError("PostgreSQL sent something else than COPY in binary")
            at, self._begun = len(_SIGNATURE), True
        at = self._take(data, at)
        self._parts = [data[at:]]
        self._held = len(data) - at
        # a row far larger than the pieces is not looked at anew with each
        self._wanted = max(PORTION, 2 * self._held)


def payload_rows(data: bytes, at: int) -> tuple[Contents, int]:
    """The rows of audit.payload (seq, appended_at, enrich_salt, salt, body, enrich) that begin at `at`, as far as they are
    whole, and where the first that is not begins."""
    rows = Contents([], [], [], [], [], [])
    while True:
        at = _take_regular(data, at, rows)
        after = _take_odd(data, at, rows)
        if after is None:
            return rows, at
        at = after


def _take_regular(data: bytes, at: int, rows: Contents) -> int:
    """Takes rows without nulls and with salts of 32 bytes, up to the first that is not whole or not so; returns where
    that begins. The hot loop."""
    seqs, appended_us, salts, bodies, enrich_salts, enrichments = rows
    size = len(data)
    upto = size - _HEAD_BYTES
    while at <= upto:
        columns, len1, seq, len2, us, len3, enrich_salt, len4, salt, length = _head(data, at)
        begin = at + _HEAD_BYTES
        end = begin + length
        if (
            columns != _COLUMNS
            or len1 != 8
            or len2 != 8
            or len3 != 32
            or len4 != 32
            or length < 0
            or end + 4 > size
        ):
            break
        (length,) = _i32(data, end)
        begin_enrichment = end + 4
        after = begin_enrichment + length
        if length < 0 or after > size:
            break
        seqs.append(seq)
        appended_us.append(us + _POSTGRES_EPOCH_US)
        salts.append(salt)
        enrich_salts.append(enrich_salt)
        bodies.append(data[begin:end])
        enrichments.append(data[begin_enrichment:after])
        at = after
    return at


def _take_odd(data: bytes, at: int, rows: Contents) -> int | None:
    """Takes one row of any form; returns where the next begins, None where this one is not whole or the end."""
    if at + 2 > len(data) or data[at : at + 2] == _END:
        return None
    if _i16(data, at)[0] != _COLUMNS:
        raise TransientError("PostgreSQL sent rows of another form than asked for")
    at += 2
    cells: list[Any] = []
    for _ in range(_COLUMNS):
        if at + 4 > len(data):
            return None
        (length,) = _i32(data, at)
        begin, at = at + 4, at + 4 + max(length, 0)
        if at > len(data):
            return None
        cells.append(None if length < 0 else data[begin:at])
    seq, us, enrich_salt, salt, body, enrich = cells
    made = (_i64(seq)[0], _i64(us)[0] + _POSTGRES_EPOCH_US, salt, body, enrich_salt, enrich)
    columns: Any = rows
    for column, cell in zip(columns, made, strict=True):
        column.append(cell)
    return at
