"""Which partitions of audit.events have a hole in their chain: pure.

The enricher's group has committed what it has sent on. Where the writer has read all of audit.enriched and the chain
still stands behind that commit, something between was lost, and only reading it again fills the hole (design page 2.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Head(NamedTuple):
    """How far the open chain of a partition is: next offset in audit.events, next in the topic that the writer reads."""

    topic_id: bytes
    next_source_offset: int
    read_topic_id: bytes
    next_read_offset: int


class Log(NamedTuple):
    """A partition as Kafka has it. `committed`: the group's commit, None without one; `committed_id`: the topic id (hex)
    that was committed with it. `earliest`: first offset that still exists. `enriched_end`: end of its audit.enriched."""

    partition: int
    earliest: int
    committed: int | None
    committed_id: str
    enriched_end: int


class TopicIds(NamedTuple):
    """The present ids of audit.events and audit.enriched."""

    events: bytes
    enriched: bytes


class Rewind(NamedTuple):
    """The group's commit of a partition, and the offset to which it is to be set. `expired_before`: offsets before this
    one no longer exist; they will be recorded as expired."""

    partition: int
    offset: int
    committed: int | None
    expired_before: int | None


def rewind(log: Log, offset: int) -> Rewind:
    """Sets a partition to `offset`."""
    return Rewind(log.partition, offset, log.committed, log.earliest if log.earliest > offset else None)


def find_holes(
    logs: Sequence[Log], heads: Mapping[int, Head], ids: TopicIds
) -> tuple[list[Rewind], list[str]]:
    """What to set back, and a line for each partition that cannot be judged yet."""
    rewinds, unjudged = [], []
    for log in logs:
        if log.committed is None or log.committed_id not in ("", ids.events.hex()):
            continue  # the enricher reads the partition from its start by itself
        head = heads.get(log.partition)
        why = _why_unjudged(log, head, ids)
        if why is not None:
            unjudged.append(f"partition {log.partition}: {why}")
        elif head is not None and head.next_source_offset < log.committed:
            rewinds.append(rewind(log, head.next_source_offset))
    return rewinds, unjudged


def _why_unjudged(log: Log, head: Head | None, ids: TopicIds) -> str | None:
    if head is None or head.topic_id != ids.events:
        return "has no chain yet; start the writer, or say --partition and --offset"
    behind = log.enriched_end - (head.next_read_offset if head.read_topic_id == ids.enriched else 0)
    if behind > 0:
        return (
            f"the writer has {behind:,} messages still to read; start it, or wait for it, and run this again"
        )
    return None
