"""Declared fields of the records of a request, encrypted before anything of it reaches Kafka (services.common.shredding).

In a thread: a subject's first event makes a key file, and that waits for the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import TypeVar

from services.common.errors import FatalError, TransientError
from services.common.logging import get_logger
from services.common.shredding.door import Door, Message, RefusedError
from services.ingest.metrics import Metrics
from services.ingest.problems import ProblemError, too_large, unavailable
from services.ingest.reading import Record, item_error, wrong_items

log = get_logger(__name__)

Made = TypeVar("Made")

_RETRY_AFTER = 5
_PATIENCE_S = 5
_REQUEST_S, _RECORD_S = 30, 0.1
"""How long a request waits for the folder of keys, and for each of its records; its thread may wait longer, and sends nothing."""


class FieldDoor:
    """The door as requests see it. `trouble`: why keys cannot be had now, None where they can."""

    def __init__(self, door: Door, event_limit: int, metrics: Metrics) -> None:
        self._door = door
        self._event_limit = event_limit
        self.trouble: str | None = None
        door.counted = metrics.encrypted.inc

    async def one(self, record: Record) -> Record:
        """The record as it may be sent. Raises ProblemError: 422 where the subject is missing, 413 where it has become too
        large, 503 where the folder of keys cannot be used."""
        return await self._in_time(lambda: self._encrypted(record), 1)

    async def many(self, records: Sequence[Record], places: Sequence[dict[str, int]]) -> list[Record]:
        """All records or none: the problem names each that is refused by its place in the request."""
        return await self._in_time(lambda: self._all(records, places), len(records))

    async def _in_time(self, work: Callable[[], Made], records: int) -> Made:
        patience_s = _REQUEST_S + _RECORD_S * records
        try:
            return await asyncio.wait_for(asyncio.to_thread(work), patience_s)
        except TimeoutError:
            self._troubled(TransientError(f"SUBJECT_KEYS_DIR does not answer within {patience_s:g} s"))
            raise _keys_away() from None

    async def look(self) -> None:
        """Whether the folder of keys is there now, so that an instance without it is not ready."""
        try:
            # A file system that hangs must not keep a signal from being heard.
            await asyncio.wait_for(asyncio.to_thread(self._door.keys.check), _PATIENCE_S)
        except TimeoutError:
            self._troubled(TransientError(f"SUBJECT_KEYS_DIR does not answer within {_PATIENCE_S} s"))
            return
        except (TransientError, FatalError) as error:
            self._troubled(error)
            return
        if self.trouble is not None:
            log.info("subject_keys_back")
        self.trouble = None

    def _all(self, records: Sequence[Record], places: Sequence[dict[str, int]]) -> list[Record]:
        made, errors = [], []
        for record, place in zip(records, places, strict=True):
            try:
                made.append(self._encrypted(record))
            except ProblemError as problem:
                if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
                    raise
                errors += [item_error(where, number, problem) for where, number in place.items()]
        if errors:
            raise wrong_items(errors, len(records))
        return made

    def _encrypted(self, record: Record) -> Record:
        try:
            key, value, headers = self._door.encrypt(Message(record.key, record.value, record.headers))
        except RefusedError as error:
            status = HTTPStatus.UNPROCESSABLE_ENTITY
            raise ProblemError(status, "not-encryptable", str(error), path=error.path) from None
        except (TransientError, FatalError) as error:
            self._troubled(error)
            raise _keys_away() from None
        made = Record(record.id, key or b"", value, headers)
        if made.size > self._event_limit:
            what = "The event, once its personal fields are encrypted,"
            raise too_large(what, self._event_limit, "EVENT_MAX_BYTES")
        return made

    def _troubled(self, error: Exception) -> None:
        if self.trouble is None:
            log.error("subject_keys_away", reason=str(error))
        self.trouble = str(error)


def _keys_away() -> ProblemError:
    return unavailable(
        "keys-away",
        "Personal fields of this request are to be encrypted, and their keys cannot be had now. Nothing was recorded: send it "
        "again later. Whoever runs this finds the reason at /readyz and in the log.",
        _RETRY_AFTER,
    )
