"""Puts orders on audit.system and waits until the writer has recorded and carried them out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import uuid4

from schemas.commitment import identity_hash
from schemas.own_events import ERASURE, MOST_NAMED, EventPlace, read_order
from services.cli.declaring import declaration
from services.cli.erasure.finding import FoundRecord, query
from services.cli.producing import Outgoing, open_producer, send_all
from services.common.errors import ConfigurationError, FatalError, TransientError
from services.common.settings import KafkaSettings

SOURCE = "piperoll/erase"
_PAUSE_S = 0.2


class Request(NamedTuple):
    """Who asks for what, why, and when (microseconds since 1970 UTC)."""

    id: str
    by: str | None
    reason: str
    ticket: str | None
    requested_us: int


class RecordedOrder(NamedTuple):
    """An order that the writer has carried out: its own event's id, and the record that proves it."""

    event_id: str
    chain_no: int
    seq: int
    record_hash: bytes
    appended_us: int
    named: int

    @property
    def id(self) -> int:
        return (self.chain_no << 48) | self.seq


def make_orders(request: Request, places: Sequence[EventPlace]) -> dict[str, Outgoing]:
    """The own events that name these places, by their ids. Raises ConfigurationError where reason or ticket do not fit."""
    chunks = [places[at : at + MOST_NAMED] for at in range(0, len(places), MOST_NAMED)]
    orders = {}
    for number, chunk in enumerate(chunks, 1):
        event_id = f"erasure-{uuid4()}"
        about: dict[str, Any] = {
            "reason": request.reason,
            "requested_us": request.requested_us,
            "request": request.id,
            "part": number,
            "parts": len(chunks),
            "events": [_named(place) for place in chunk],
            "ticket": request.ticket,
        }
        if request.by is not None:
            about["by"] = request.by
        message = declaration(event_id, about, source=SOURCE, kind=ERASURE)
        try:
            read_order(message.value or b"")
        except ValueError as error:
            raise ConfigurationError(f"the order cannot be given so: {error}") from error
        orders[event_id] = message
    return orders


def _named(place: EventPlace) -> dict[str, Any]:
    return {
        "topic_id": place.topic_id.hex(),
        "partition": place.partition,
        "source_offset": place.source_offset,
    }


def give_orders(
    settings: KafkaSettings, dsn: str, orders: dict[str, Outgoing], patience_s: float
) -> list[RecordedOrder]:
    """Sends the orders and waits for their records. Raises TransientError where they are not recorded in time (they
    will be carried out all the same, once the writer comes to them), FatalError where one had no effect."""
    with open_producer(settings, "piperoll-erase") as producer:
        outcomes = send_all(producer, settings.topics.system, orders.values())
    refused = [outcome for outcome in outcomes if isinstance(outcome, str)]
    if refused:
        raise TransientError(f"audit.system did not take {len(refused)} orders: {refused[0]}; run it again")
    deadline = time.monotonic() + patience_s
    while len(recorded := _recorded(settings, dsn, orders)) < len(orders):
        if time.monotonic() > deadline:
            raise TransientError(
                f"the writer has not recorded the erasure within {patience_s:.0f} s. It stands on audit.system and will "
                "be carried out when the writer comes to it; run this again then for the certificate"
            )
        time.sleep(_PAUSE_S)
    without = [order for order in recorded if order.named == 0]
    if without:
        raise FatalError(
            f"record {without[0].seq} of chain {without[0].chain_no} is recorded and had no effect: see the writer's log"
        )
    return recorded


def _recorded(settings: KafkaSettings, dsn: str, orders: dict[str, Outgoing]) -> list[RecordedOrder]:
    names = {identity_hash("own-event", event_id): event_id for event_id in orders}
    rows = asyncio.run(query(dsn, "recorded", list(names), settings.topics.system))
    return [RecordedOrder(names[row["identity_hash"]], *list(row.values())[1:]) for row in rows]


def remaining(dsn: str, found: Sequence[FoundRecord]) -> int:
    """How many of these still have a payload."""
    numbers = ([one.chain_no for one in found], [one.seq for one in found])
    (row,) = asyncio.run(query(dsn, "remaining", *numbers))
    return int(row["count"])
