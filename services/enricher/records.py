"""How aiokafka's consumers of this process read records.

Header names that are no UTF-8, over which aiokafka's own reader stumbles for ever, are let through. Records of batched
topics come as the reader makes them: a `ConsumerRecord` around each costs as much again, and says nothing more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from struct import Struct
from typing import Any

from aiokafka import codec
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.memory_records import _MemoryRecordsPy

from services.common.wire_records import read_records

# baseOffset, then attributes, firstTimestamp, maxTimestamp and the count of records (Kafka protocol, RecordBatch)
_BASE_OFFSET, _ATTRIBUTES, _TIMES, _COUNT = (Struct(f) for f in (">q", ">h", ">qq", ">i"))
_ATTRIBUTES_AT, _TIMES_AT, _COUNT_AT, _RECORDS_AT = 21, 27, 57, 61
_CODEC_BITS, _LOG_APPEND_TIME = 0x07, 0x08
_DECODERS = {1: codec.gzip_decode, 2: codec.snappy_decode, 3: codec.lz4_decode, 4: codec.zstd_decode}


class TolerantBatch:
    """A batch as aiokafka reads it, and by our own reader where that one fails."""

    def __init__(self, batch: Any, raw: memoryview) -> None:
        self._batch = batch
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        try:
            return iter(list(self._batch))
        except UnicodeDecodeError:
            return read_tolerantly(bytes(self._raw))


class TolerantRecords(_MemoryRecordsPy):  # type: ignore[misc]  # aiokafka has no types for it
    """The batches of one fetch."""

    def next_batch(self) -> TolerantBatch | None:
        raw = self._next_slice
        batch = super().next_batch()
        return None if batch is None else TolerantBatch(batch, raw)


def read_tolerantly(raw: bytes) -> Iterator[Any]:
    """The records of a batch of format 2. Raises ValueError or IndexError where the bytes are no such batch."""
    (attributes,) = _ATTRIBUTES.unpack_from(raw, _ATTRIBUTES_AT)
    first_ms, last_ms = _TIMES.unpack_from(raw, _TIMES_AT)
    by_broker = bool(attributes & _LOG_APPEND_TIME)
    decode = _DECODERS.get(attributes & _CODEC_BITS)
    records = raw[_RECORDS_AT:] if decode is None else bytes(decode(raw[_RECORDS_AT:]))
    return read_records(
        records,
        0,
        _COUNT.unpack_from(raw, _COUNT_AT)[0],
        _BASE_OFFSET.unpack_from(raw)[0],
        last_ms if by_broker else first_ms,
        int(by_broker),
    )


class PlainRecords(PartitionRecords):  # type: ignore[misc]  # aiokafka has no types for it
    """What was fetched of a partition. Records of `topics` have `offset`, `timestamp`, `timestamp_type`, `key`, `value` and
    `headers`, and not what is the same for all of them."""

    topics: Collection[str] = ()

    def _consumer_record(self, tp: Any, record: Any) -> Any:
        return record if tp.topic in self.topics else super()._consumer_record(tp, record)


def install(plain: Collection[str] = ()) -> None:
    """Makes aiokafka's consumers of this process read with this. `plain`: topics of which records come as they are."""
    PlainRecords.topics = frozenset(plain)
    fetcher.MemoryRecords = TolerantRecords
    fetcher.PartitionRecords = PlainRecords
