"""The orders of one erasure, and what is left after them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from schemas.own_events import ERASURE, MOST_NAMED, EventPlace
from services.cli.erasure.finding import FoundRecord, query
from services.cli.ordering import RecordedOrder, Request, give_orders, make_order
from services.cli.producing import Outgoing
from services.common.errors import FatalError
from services.common.settings import KafkaSettings

SOURCE = "piperoll/erase"


def make_erasures(request: Request, places: Sequence[EventPlace]) -> dict[str, Outgoing]:
    """The own events that name these places, as many as it takes."""
    chunks = [places[at : at + MOST_NAMED] for at in range(0, len(places), MOST_NAMED)]
    orders: dict[str, Outgoing] = {}
    for number, chunk in enumerate(chunks, 1):
        events = [
            {
                "topic_id": place.topic_id.hex(),
                "partition": place.partition,
                "source_offset": place.source_offset,
            }
            for place in chunk
        ]
        orders |= make_order(ERASURE, SOURCE, request, {"events": events}, number, len(chunks))
    return orders


def erase_places(
    settings: KafkaSettings, dsn: str, request: Request, places: Sequence[EventPlace], patience_s: float
) -> list[RecordedOrder]:
    """Orders the erasure and waits for it. Raises TransientError where it is not recorded in time, FatalError where it
    had no effect."""
    recorded = give_orders(settings, dsn, make_erasures(request, places), patience_s)
    without = [order for order in recorded if order.named == 0]
    if without:
        raise FatalError(
            f"record {without[0].seq} of chain {without[0].chain_no} is recorded and had no effect: see the writer's log"
        )
    return recorded


def remaining(dsn: str, found: Sequence[FoundRecord]) -> int:
    """How many of these still have a payload."""
    numbers = ([one.chain_no for one in found], [one.seq for one in found])
    (row,) = asyncio.run(query(dsn, "remaining", *numbers))
    return int(row["count"])
