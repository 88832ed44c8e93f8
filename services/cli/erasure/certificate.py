"""What an erasure comes to, for people and for programs: what went, the records that prove it, the copies that are left.

The text that was searched for stands in none of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from schemas.record import Kind
from schemas.verification.findings import utc
from services.cli.erasure.copies import Copy
from services.cli.erasure.finding import FoundRecord
from services.cli.ordering import RecordedOrder, Request
from services.common.shredding.keys import Destroyed
from services.reporter.escape import terminal
from services.reporter.integrity import counted

_MOST_LINES = 20
_WORDS = {
    Kind.EVENT: "event",
    Kind.DUPLICATE: "repeat",
    Kind.POISON: "unreadable message",
    Kind.ANNOTATION: "AI reading",
}


class Certificate(NamedTuple):
    """One request and all that became of it."""

    request: Request
    found: Sequence[FoundRecord]
    orders: Sequence[RecordedOrder]
    copies: Sequence[Copy]
    key: Destroyed | None = None
    """The subject's key, which is gone too."""


def found_lines(found: Sequence[FoundRecord]) -> list[str]:
    """What would go: counts by kind and type, and the first records."""
    kinds = [
        counted(count, _WORDS[kind]) for kind in _WORDS if (count := sum(one.kind == kind for one in found))
    ]
    lines = [", ".join(kinds) or "nothing"]
    for one in found[:_MOST_LINES]:
        place = f"{one.topic} {one.place.partition}/{one.place.source_offset}"
        lines.append(
            terminal(
                f"  {one.id:<20} {_WORDS[Kind(one.kind)]:<18} {utc(one.appended_us)}  {place}  {one.event_type}"
            )
        )
    if len(found) > _MOST_LINES:
        lines.append(f"  … and {len(found) - _MOST_LINES:,} more (--json has all)")
    return lines


def as_lines(certificate: Certificate) -> list[str]:
    """The certificate for a terminal."""
    request, found, orders, copies, key = certificate
    lines = [
        f"Erased on request {request.id}, asked for {utc(request.requested_us)}:",
        *(found_lines(found) if found else ["no event; the key alone"]),
    ]
    lines += ["", "Recorded on the system chain, in the transaction that erased:"] if orders else []
    lines += [
        f"  record {order.seq} of chain {order.chain_no} (id {order.id}), {utc(order.appended_us)}, "
        f"{order.named:,} named, hash {order.record_hash.hex()}"
        for order in orders
    ]
    if key is not None:
        lines += ["", *_died_lines(key)]
    going = [
        terminal(f"  by {utc(copy.gone_us)[:10]}  {copy.where}: {copy.what}. {copy.to_do}")
        for copy in copies
        if copy.gone_us is not None
    ]
    if going:
        lines += [
            "",
            f"Copies that go by themselves{'' if key is None else ', of what was not encrypted'}:",
            *going,
        ]
    lines += ["", "To do:"]
    lines += [
        terminal(f"  [ ] {copy.where}: {copy.what}. {copy.to_do}") for copy in copies if copy.gone_us is None
    ]
    return lines


def _died_lines(key: Destroyed) -> list[str]:
    return [
        f"Died with key {key.key_id}, destroyed {key.at}, in every copy, known to us or not:",
        "  the encrypted fields of this subject: in topics, dead letters, rows, WAL, replicas, dumps, archives, reports, packs,",
        "  prompts, and whatever was delivered",
    ]


def found_json(found: Sequence[FoundRecord]) -> list[dict[str, Any]]:
    """The records for --json."""
    return [
        {
            "id": one.id,
            "kind": Kind(one.kind).name.lower(),
            "type": one.event_type,
            "topic": one.topic,
            "topic_id": one.place.topic_id.hex(),
            "partition": one.place.partition,
            "source_offset": one.place.source_offset,
            "chain_no": one.chain_no,
            "seq": one.seq,
            "record_hash": one.record_hash.hex(),
            "appended": utc(one.appended_us),
        }
        for one in found
    ]


def as_json(certificate: Certificate) -> dict[str, Any]:
    """The certificate for programs."""
    request, found, orders, copies, key = certificate
    return {
        "format": "piperoll-erasure/v1",
        "request": request.id,
        "reason": request.reason,
        "ticket": request.ticket,
        "requested": utc(request.requested_us),
        "key": None if key is None else {"id": key.key_id, "destroyed": key.at},
        "erased": found_json(found),
        "records": [
            {
                "event_id": order.event_id,
                "id": order.id,
                "chain_no": order.chain_no,
                "seq": order.seq,
                "record_hash": order.record_hash.hex(),
                "appended": utc(order.appended_us),
                "named": order.named,
            }
            for order in orders
        ],
        "copies": [
            {
                "where": copy.where,
                "what": copy.what,
                "gone_by": None if copy.gone_us is None else utc(copy.gone_us),
                "to_do": copy.to_do,
            }
            for copy in copies
        ],
    }
