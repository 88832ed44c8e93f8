"""The ids of the topics that are read: a topic deleted and made anew has another, and its offsets mean other events."""

from __future__ import annotations

import asyncio
import time

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from services.common.errors import FatalError, TransientError
from services.common.kafka import admin_client, topic_ids
from services.common.logging import get_logger
from services.common.settings import KafkaSettings

log = get_logger(__name__)
MOST_AGE_S = 1.0
"""A topic cannot be deleted, made anew and filled beyond the old one's offsets in this time."""
_PAUSE_S = 0.5


class TopicIds:
    """Keeps one connection; asks at most once in `MOST_AGE_S`. While the broker is away, `id_of` waits."""

    def __init__(self, kafka: KafkaSettings, names: frozenset[str]) -> None:
        self._kafka = kafka
        self._names = names
        self._known: dict[str, bytes] = {}
        self._read_at = float("-inf")
        self._admin: KafkaAdminClient | None = None
        self._lock = asyncio.Lock()

    def known(self, name: str) -> bytes:
        """The id as it was read last, empty if it was not."""
        return self._known.get(name, b"")

    async def id_of(self, name: str, *, age_s: float = MOST_AGE_S) -> bytes:
        """The 16-byte id of a topic, read at most `age_s` seconds ago. Raises FatalError if it is another one than
        before."""
        wanted = time.monotonic() - age_s
        while self._read_at < wanted:
            try:
                await self.refresh()
            except TransientError as error:
                log.warning("held", why=str(error))
                await asyncio.sleep(_PAUSE_S)
        return self._known[name]

    async def refresh(self) -> None:
        """Asks the broker. Raises FatalError where a topic was made anew or is gone, TransientError where no broker
        answers."""
        async with self._lock:
            begun = time.monotonic()
            found = await asyncio.to_thread(self._ask)
            for name, seen in found.items():
                if self._known.setdefault(name, seen) != seen:
                    raise FatalError(
                        f"topic {name} was deleted and made anew: the restarted process reads it from its start"
                    )
            missing = self._names - set(found)
            if missing:
                raise FatalError(f"no topic {', '.join(sorted(missing))}: `piperoll topics create` makes it")
            self._read_at = begun

    def _ask(self) -> dict[str, bytes]:
        try:
            if self._admin is None:
                self._admin = admin_client(self._kafka, "piperoll-topic-ids")
            return topic_ids(self._admin, sorted(self._names))
        except KafkaError as error:
            admin, self._admin = self._admin, None
            if admin is not None:
                admin.close()
            raise TransientError(f"the topics' ids cannot be read: {error!r}") from error
