"""Chains that wait: the writer has alerted that messages have not arrived, and the chain still stands where it stood.

The alert is recorded itself, under an id made of the place of the hole, so that a look by the index is enough. What was
filled meanwhile has moved the head on and is not found.
"""

from __future__ import annotations

from collections.abc import Iterable

from schemas.commitment import identity_hash
from schemas.hole_alert import hole_alert_id
from schemas.verification.findings import Change, Finding, Part
from schemas.verification.links import ChainInfo, Head
from services.reporter.store import Snapshot


async def find_holes(snapshot: Snapshot, chains: Iterable[tuple[ChainInfo, Head | None]]) -> list[Finding]:
    """One finding for each chain that waits, or that was closed while it did."""
    waiting = {
        identity_hash("own-event", hole_alert_id(info.topic_id, info.partition, head.next_source_offset)): (
            info,
            head,
        )
        for info, head in chains
        if head is not None
    }
    said = {row["identity_hash"]: row for row in await snapshot.fetch("told", list(waiting))}
    return [_finding(*waiting[at], row["chain_no"], row["seq"]) for at, row in said.items()]


def _finding(info: ChainInfo, head: Head, alert_chain: int, alert_seq: int) -> Finding:
    what = (
        "had not arrived when the chain was closed, and are not in it"
        if head.closed
        else "have not arrived, and nothing is recorded until they do: if they do not come by themselves, stop the "
        "enrichers and run `piperoll replay offsets`"
    )
    text = f"events from source offset {head.next_source_offset} on {what} (alert: record {alert_seq} of chain {alert_chain})"
    return Finding(info.chain_no, Change.NOT_ARRIVED, Part.CHAIN, text, source_offset=head.next_source_offset)
