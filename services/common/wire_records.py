"""Reads the records of Kafka's message format 2 without stumbling over odd header names.

The readers of kafka-python and aiokafka refuse a whole batch, for ever, where a header's name is no UTF-8: anybody who
may produce could stop every consumer. Here such a name keeps its bytes by surrogate escapes, in an `OddName`.
"""

from __future__ import annotations

from collections.abc import Iterator

from schemas.topics import PIPEROLL_HEADER

_KNOWN_NAMES: dict[bytes | None, str] = {PIPEROLL_HEADER.encode(): PIPEROLL_HEADER}


class OddName(str):
    """A header name that is no UTF-8. Encoding gives its bytes back."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> bytes:
        return super().encode(encoding, "surrogateescape" if errors == "strict" else errors)


class Record:
    """What kafka-python asks of a record."""

    __slots__ = ("headers", "key", "offset", "size_in_bytes", "timestamp", "timestamp_type", "value")
    checksum = None

    def __init__(
        self,
        size_in_bytes: int,
        offset: int,
        timestamp: int,
        timestamp_type: int,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes | None]],
    ) -> None:
        self.size_in_bytes = size_in_bytes
        self.offset = offset
        self.timestamp = timestamp
        self.timestamp_type = timestamp_type
        self.key = key
        self.value = value
        self.headers = headers

    def validate_crc(self) -> bool:
        """The batch has the checksum."""
        return True


def read_records(
    buffer: bytes, at: int, count: int, base_offset: int, base_timestamp: int, timestamp_type: int
) -> Iterator[Record]:
    """Raises ValueError or IndexError where the bytes are no records. Lengths of one byte, the usual ones, are read
    in place."""
    for _ in range(count):
        size, at = _varint(buffer, at)
        end = at + size
        delta, at = _varint(buffer, at + 1)  # behind the attributes, which say nothing
        timestamp = base_timestamp if timestamp_type else base_timestamp + delta
        delta, at = _varint(buffer, at)
        offset = base_offset + delta
        key, at = _bytes(buffer, at)
        value, at = _bytes(buffer, at)
        if buffer[at] == 2:  # one header
            raw, at = _bytes(buffer, at + 1)
            content, at = _bytes(buffer, at)
            headers = [(_KNOWN_NAMES.get(raw) or _name(raw), content)]
        else:
            headers, at = _headers(buffer, at)
        if at != end or end > len(buffer):
            raise ValueError(f"record of {size} bytes ends {at - end} bytes off")
        yield Record(size, offset, timestamp, timestamp_type, key, value, headers)
    if at != len(buffer):
        raise ValueError(f"{len(buffer) - at} bytes behind the last record")


def _headers(buffer: bytes, at: int) -> tuple[list[tuple[str, bytes | None]], int]:
    left, at = _varint(buffer, at)
    if left < 0:
        raise ValueError(f"{left} headers")
    headers: list[tuple[str, bytes | None]] = []
    while left > 0:
        raw, at = _bytes(buffer, at)
        content, at = _bytes(buffer, at)
        headers.append((_name(raw), content))
        left -= 1
    return headers, at


def _bytes(buffer: bytes, at: int) -> tuple[bytes | None, int]:
    """Nullable bytes behind their length, and the place behind them."""
    first = buffer[at]
    if first < 0x80:
        at += 1
        length = first >> 1
        if first & 1:
            return None, at
    else:
        second = buffer[at + 1]
        if second < 0x80 and not first & 1:
            at += 2
            length = (first & 0x7F | second << 7) >> 1
        else:
            length, at = _varint(buffer, at)
            if length < 0:
                return None, at
    end = at + length
    return buffer[at:end], end


def _varint(buffer: bytes, at: int) -> tuple[int, int]:
    """A zigzag varint of 64 bits and the place behind it."""
    first = buffer[at]
    if first < 0x80:
        return (first >> 1) ^ -(first & 1), at + 1
    second = buffer[at + 1]
    if second < 0x80:
        number = (first & 0x7F) | (second << 7)
        return (number >> 1) ^ -(number & 1), at + 2
    number, shift = (first & 0x7F) | ((second & 0x7F) << 7), 14
    at += 2
    while True:
        byte = buffer[at]
        number |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at
        shift += 7
        if shift > 63:
            raise ValueError("a varint of more than 64 bits")


def _name(raw: bytes | None) -> str:
    if raw is None:
        raise ValueError("a header without a name")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return OddName(raw.decode("utf-8", "surrogateescape"))
