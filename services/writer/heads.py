"""What the writer says of its chains outside the database: where each ends, before it commits that.

The last few heads of a partition's chain stand as metadata of an offset in a consumer group that has no members, so that
whoever may write to PostgreSQL cannot change them. A head's hash pins every record before it, to the last byte: the sealer
signs no record that does not lead to a head that was said. Said first, then committed: a crash between leaves a head that
never came about, and the one before it still stands beside it.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from struct import Struct
from typing import NamedTuple, TypeVar

from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import AuthorizationError, KafkaError
from kafka.structs import OffsetAndMetadata

from services.common.errors import ConfigurationError, TransientError
from services.common.kafka import client_options
from services.common.settings import KafkaSettings

GROUP = "writer-heads"
KEPT = 8
_HEAD = Struct(">16sQ32s")
_BOOTSTRAP_MS = 5000
_COORDINATOR_S = 10.0
_NOT_ALLOWED = (
    "Kafka refused the writer: it must be allowed to read, and to commit in, the group of its heads ({})"
)
Result = TypeVar("Result")


class Head(NamedTuple):
    """A chain up to `next_seq` (exclusive): the hash of its last record is `last_hash`."""

    chain_id: bytes
    next_seq: int
    last_hash: bytes


def encode_heads(heads: Sequence[Head]) -> str:
    """Oldest first."""
    return base64.b64encode(b"".join(_HEAD.pack(*head) for head in heads)).decode()


def decode_heads(text: str) -> list[Head]:
    """The reverse. Raises ValueError."""
    packed = base64.b64decode(text, validate=True)
    if len(packed) % _HEAD.size:
        raise ValueError("not a list of heads")
    return [Head(*fields) for fields in _HEAD.iter_unpack(packed)]


def read_heads(admin: KafkaAdminClient, group: str) -> dict[TopicPartition, list[Head]]:
    """What was said of every partition. Raises KafkaError."""
    found = {}
    for at, commit in admin.list_group_offsets({group: None})[group].items():
        try:
            found[at] = decode_heads(commit.metadata or "")
        except ValueError:
            found[at] = []  # not written by us: as good as nothing
    return found


class HeadKeeper:
    """Says the heads of this writer's partitions. Its methods block; any thread may call them."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._group = settings.topics.group(GROUP)
        self._said: dict[TopicPartition, list[Head]] = {}
        self._silent: set[TopicPartition] = set()
        self._lock = threading.Lock()
        with _kafka_errors():
            self._admin = KafkaAdminClient(
                **client_options(settings, "piperoll-writer-heads"), bootstrap_timeout_ms=_BOOTSTRAP_MS
            )

    def take_over(self, heads: Mapping[TopicPartition, Head | None]) -> dict[TopicPartition, Head]:
        """Begins to speak for partitions, whose heads in the database these are. Returns those of which the last writer
        said otherwise: of these nothing is said, since what is there was not appended by a writer. Raises TransientError."""
        with self._lock:
            known = self._patiently(lambda: read_heads(self._admin, self._group))
            changed = {}
            for at, head in heads.items():
                said = known.get(at, [])
                self._said[at] = said
                if head is not None and said and head not in said:
                    changed[at] = head
            self._silent = (self._silent - set(heads)) | set(changed)
        return changed

    def say(self, heads: Mapping[TopicPartition, Sequence[Head]]) -> None:
        """Heads that are about to be committed. Durable when it returns. Raises TransientError."""
        with self._lock:
            new = {at: some for at, some in heads.items() if some and at not in self._silent}
            if not new:
                return
            for at, some in new.items():
                self._said[at] = [*self._said.get(at, ()), *some][-KEPT:]
            self._commit(new)

    def say_again(self, partitions: Collection[TopicPartition]) -> None:
        """Puts right what a writer that had lost these said too late, and keeps it from expiring. Raises TransientError."""
        with self._lock:
            self._commit([at for at in partitions if self._said.get(at) and at not in self._silent])

    def _commit(self, partitions: Collection[TopicPartition]) -> None:
        if not partitions:
            return
        commits = {
            at: OffsetAndMetadata(self._said[at][-1].next_seq, encode_heads(self._said[at]), -1)
            for at in partitions
        }
        outcomes = self._patiently(lambda: self._admin.alter_group_offsets(self._group, commits))
        refused = [error for error in outcomes.values() if getattr(error, "errno", 0) != 0]
        if any(issubclass(error, AuthorizationError) for error in refused):
            raise ConfigurationError(_NOT_ALLOWED.format(self._group))
        if refused:
            raise TransientError(
                f"the group {self._group} did not take the chains' heads: {refused[0].__name__}"
            )

    def _patiently(self, ask: Callable[[], Result]) -> Result:
        """A broker that has never had a group makes its topic for them first, and one that starts loads it."""
        deadline = time.monotonic() + _COORDINATOR_S
        while True:
            try:
                with _kafka_errors():
                    return ask()
            except TransientError as error:
                if not getattr(error.__cause__, "retriable", False) or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def close(self) -> None:
        """Closes the client."""
        self._admin.close()


@contextmanager
def _kafka_errors() -> Iterator[None]:
    try:
        yield
    except AuthorizationError as error:
        raise ConfigurationError(_NOT_ALLOWED.format(f"…-{GROUP}")) from error
    except KafkaError as error:
        raise TransientError(f"Kafka cannot now: {error!r}") from error
