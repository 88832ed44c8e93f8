"""Alerts of the writer: what they say and how they are named. Sending them is announce.py's part."""

from __future__ import annotations

from schemas.commitment import producer_id
from schemas.hole_alert import hole_alert_id
from services.common.alerts import Alert

__all__ = [
    "Alert",
    "begins_late",
    "expired",
    "hole",
    "identity_conflict",
    "reopened",
    "unreadable",
    "unusable_order",
]


def hole(topic: str, partition: int, topic_id: bytes, expected: int, prev: int) -> Alert:
    """Messages have not arrived that the enricher says it has sent before."""
    return Alert(
        hole_alert_id(topic_id, partition, expected),
        "critical",
        "enriched_hole",
        f"{topic} partition {partition}: offsets {expected} to {prev} have not arrived. If no redelivery fills the hole "
        f"soon, stop the enrichers and run `piperoll replay offsets`: it sets their group back to {expected}.",
        {
            "topic": topic,
            "topic_id": topic_id.hex(),
            "partition": partition,
            "expected": expected,
            "prev": prev,
        },
    )


def begins_late(topic: str, partition: int, topic_id: bytes, first: int) -> Alert:
    """A chain does not begin with its topic."""
    return Alert(
        f"writer:begins-late:{topic_id.hex()}:{partition}:{first}",
        "critical",
        "chain_begins_late",
        f"{topic} partition {partition}: the chain begins at offset {first}. What the enricher made of the offsets before "
        "is not in this database: recorded in another one, or lost from the enriched topic. `piperoll replay offsets "
        "--partition … --offset …` has them read again while the topic still holds them.",
        {"topic": topic, "topic_id": topic_id.hex(), "partition": partition, "first": first},
    )


def expired(topic: str, partition: int, topic_id: bytes, first: int, last: int) -> Alert:
    """Events were deleted by retention before anybody read them."""
    return Alert(
        f"writer:source-expired:{topic_id.hex()}:{partition}:{first}",
        "critical",
        "source_expired",
        f"{topic} partition {partition}: offsets {first} to {last} expired before they were read and are lost. "
        "Lengthen the topic's retention, and find out why reading fell behind.",
        {"topic": topic, "topic_id": topic_id.hex(), "partition": partition, "first": first, "last": last},
    )


def reopened(topic: str, partition: int, why: str, old: bytes, new: bytes, offset: int) -> Alert:
    """A chain was closed, and another begun, since the topic is not what it was."""
    recreated = why == "topic-recreated"
    return Alert(
        f"writer:{why}:{old.hex()}:{new.hex()}:{partition}:{offset}",
        "high" if recreated else "critical",
        why.replace("-", "_"),
        f"{topic} partition {partition}: "
        + (
            "the topic was deleted and created anew; its chain is closed and a new one begins."
            if recreated
            else f"offset {offset} came again with other content: the log was rewound (unclean leader election, or "
            "tampering). The chain is closed and a new one begins."
        ),
        {
            "topic": topic,
            "partition": partition,
            "old_topic_id": old.hex(),
            "new_topic_id": new.hex(),
            "offset": offset,
        },
    )


def unreadable(topic: str, topic_id: bytes, partition: int, offset: int, fault: str) -> Alert:
    """A message of audit.enriched that the enricher did not make."""
    return Alert(
        f"writer:unreadable:{topic_id.hex()}:{partition}:{offset}",
        "critical",
        "enriched_unreadable",
        f"{topic} partition {partition} offset {offset} is not from the enricher ({fault}) and was left out. "
        "Find out who may write to that topic.",
        {
            "topic": topic,
            "topic_id": topic_id.hex(),
            "partition": partition,
            "offset": offset,
            "fault": fault[:200],
        },
    )


def unusable_order(topic: str, topic_id: bytes, partition: int, offset: int, flaw: str) -> Alert:
    """An own event whose type is an order's or a review's is not written as such a one must be."""
    return Alert(
        f"writer:unusable-order:{topic_id.hex()}:{partition}:{offset}",
        "critical",
        "order_unusable",
        f"{topic} partition {partition}: offset {offset} is recorded and has no effect: {flaw}. Give it again by "
        "`piperoll erase`, `restore`, `retain` or `review`, and find out who sent this one.",
        {"topic": topic, "topic_id": topic_id.hex(), "partition": partition, "offset": offset},
    )


def identity_conflict(
    topic: str, partition: int, topic_id: bytes, offset: int, source: str, hour: int
) -> Alert:
    """Two different events call themselves by one source and id. `hour`: hours since 1970 of Kafka's timestamp; the
    alert stands for all conflicts of a source in it."""
    producer = producer_id(source).hex()
    return Alert(
        f"writer:identity-conflict:{topic_id.hex()}:{partition}:{producer}:{hour}",
        "high",
        "identity_conflict",
        f"{topic} partition {partition} offset {offset}: an event of source {source[:200]!r} has the id of an earlier one "
        "and other content. Either its source gives an id twice, or somebody wants one event taken for another. All such "
        "events are recorded and tagged identity:conflict.",
        {
            "topic": topic,
            "topic_id": topic_id.hex(),
            "partition": partition,
            "offset": offset,
            "source": source[:200],
            "hour": hour,
        },
    )
