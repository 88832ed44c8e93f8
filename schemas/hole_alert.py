"""The name of the alert that a chain waits for messages which have not arrived: said by the writer, looked up by verify."""

from __future__ import annotations


def hole_alert_id(topic_id: bytes, partition: int, expected: int) -> str:
    """The id of the own event on audit.system. `expected`: the source offset at which the chain stands."""
    return f"writer:enriched-hole:{topic_id.hex()}:{partition}:{expected}"
