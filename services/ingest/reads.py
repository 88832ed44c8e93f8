"""Who was given a proof over HTTP is a record too: an own event on audit.system, durable before the proof goes out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

from services.common.clock import system_clock
from services.common.errors import ConfigurationError, TransientError
from services.common.logging import get_logger
from services.common.settings import KafkaSettings
from services.common.system_topic import READ, READ_SOURCE, SystemTopic, own_event
from services.ingest.keys import ApiKey
from services.ingest.problems import unavailable

log = get_logger(__name__)
_SECONDS = 5.0
NO_KEY = "nobody named: without a key"


class Reads:
    """One thread with a producer of its own, which connects when it is first needed."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._topic = SystemTopic(kafka, "piperoll-ingest-reads", _SECONDS)
        self._thread = ThreadPoolExecutor(1, "reads")

    async def note(self, key: ApiKey | None, what: str, about: Mapping[str, Any]) -> None:
        """Puts on record that the key's holder reads `what` of `about`, one record. Raises ProblemError (503) where it cannot."""
        request = str(uuid4())
        by = NO_KEY if key is None else f"key {key.name}"
        data = {"by": by, "what": what, "range": dict(about), "request": request, "count": 1}
        event = own_event(READ, f"read-{request}", data, system_clock(), READ_SOURCE)
        try:
            async with asyncio.timeout(2 * _SECONDS):
                await asyncio.get_running_loop().run_in_executor(self._thread, self._topic.record, [event])
        except (TransientError, ConfigurationError, TimeoutError) as error:
            log.warning("read_not_recorded", reason=f"{type(error).__name__}: {error}")
            raise unavailable(
                "not-recorded",
                "Who reads is put on record first, and audit.system does not take it now: ask again later.",
                int(_SECONDS),
            ) from None

    async def close(self) -> None:
        """Ends the producer, without waiting for what hangs."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._topic.close)
