"""Taking partitions over: from an assignment to a claimed chain and a position to read from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from schemas.topics import Topics
from services.common.logging import get_logger
from services.writer.chain import Place
from services.writer.consumer import Consumer, TopicPartition
from services.writer.partition import Partition, make_partition, place_of, start_of
from services.writer.store import Lineage, Store

log = get_logger(__name__)
OnKafka = Callable[..., Awaitable[Any]]
"""Calls a method of the consumer on its thread."""


async def take_over(
    waiting: Iterable[TopicPartition],
    topics: Topics,
    cluster_id: str,
    consumer: Consumer,
    store: Store,
    on_kafka: OnKafka,
) -> dict[TopicPartition, Partition]:
    """Claims the chains of those partitions that are still ours and whose topic exists, and starts to read them.
    What is missing in the result stays waiting.

    The commit of the positions comes before the claim: the group refuses it from a member that has stalled, so that
    a zombie does not take chains back from their new owner. Where it slips through, the epochs fence."""
    ids: dict[str, bytes] = await on_kafka(consumer.topic_ids)
    held: set[TopicPartition] = await on_kafka(consumer.assignment)
    ready = sorted(partition for partition in waiting if partition in held and partition.topic in ids)
    if not ready:
        return {}
    bounds = await on_kafka(consumer.bounds, ready)
    places: dict[TopicPartition, Place] = {}
    lineages: dict[TopicPartition, Lineage] = {}
    positions: dict[TopicPartition, int] = {}
    for at in ready:
        places[at] = place_of(topics, cluster_id, at.topic, at.partition)
        lineages[at] = await store.lineage(places[at])
        positions[at] = start_of(lineages[at], ids[at.topic], bounds[at])
    if not await on_kafka(consumer.prove_membership, positions):
        log.warning("membership_lost", partitions=len(ready))
        return {}
    taken = {}
    for at in ready:
        lineage = lineages[at]
        chain = await store.claim(lineage) if lineage.chain_no is not None else None
        if chain is not None and lineage.next_read_offset != positions[at]:
            log.warning(
                "read_from_elsewhere",
                topic=at.topic,
                partition=at.partition,
                head=lineage.next_read_offset,
                position=positions[at],
            )
        taken[at] = make_partition(topics, places[at], ids[at.topic], lineage, chain, positions[at])
    await on_kafka(consumer.start_at, positions)
    log.info("partitions_taken", partitions=[f"{at.topic}:{at.partition}@{positions[at]}" for at in ready])
    return taken
