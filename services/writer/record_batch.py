"""Reads Kafka's record batches for kafka-python by services.common.wire_records: odd header names pass, at half the cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kafka import KafkaConsumer
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.protocol.consumer import IsolationLevel
from kafka.record import memory_records
from kafka.record.default_records import DefaultRecordBatch

from services.common.wire_records import Record, read_records


class RecordBatch(DefaultRecordBatch):  # type: ignore[misc]  # kafka-python has no types
    """A batch whose records are read by `read_records`; control batches as in kafka-python."""

    def __iter__(self) -> Iterator[Any]:
        if self.is_control_batch:
            control: Iterator[Any] = super().__iter__()
            return control
        self._maybe_uncompress()
        return self._checked()

    def _checked(self) -> Iterator[Record]:
        try:
            yield from read_records(
                bytes(self._buffer),
                self._pos,
                self._num_records,
                self.base_offset,
                self.max_timestamp if self.timestamp_type else self.first_timestamp,
                self.timestamp_type,
            )
        except (ValueError, IndexError) as error:
            raise CorruptRecordError(f"record batch at offset {self.base_offset}: {error!r}") from error


class PartitionRecords(Fetcher.PartitionRecords):  # type: ignore[misc]  # kafka-python has no types
    """The records of one fetch of one partition, handed over as they are read: no second object for each, no
    deserialisers, no weighing of headers."""

    def _unpack_records(self, _partition: Any, records: Any, _key: Any, _value: Any) -> Iterator[Any]:
        batch = records.next_batch()
        while batch is not None:
            if self.check_crcs and not batch.validate_crc():
                raise CorruptRecordError(
                    f"{self.topic_partition}: bad checksum at offset {batch.base_offset}"
                )
            if not self._is_to_be_skipped(batch):
                for record in batch:
                    self.next_fetch_offset = record.offset + 1
                    self.records_read += 1
                    self.bytes_read += record.size_in_bytes
                    yield record
            self.next_fetch_offset = batch.next_offset
            batch = records.next_batch()
        self.drain()

    def _is_to_be_skipped(self, batch: Any) -> bool:
        """Control batches and, where only committed records are read, those of aborted transactions."""
        self.leader_epoch = batch.leader_epoch
        if self.isolation_level == IsolationLevel.READ_COMMITTED and batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if self._contains_abort_marker(batch):
                self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return True
        return bool(batch.is_control_batch)


def install(consumer: KafkaConsumer) -> None:
    """Makes a consumer read with this."""
    memory_records.DefaultRecordBatch = RecordBatch
    consumer._fetcher.PartitionRecords = PartitionRecords  # noqa: SLF001 - kafka-python offers no other way
