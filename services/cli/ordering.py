"""Puts orders on audit.system and waits until the writer has recorded and carried them out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from schemas.commitment import identity_hash
from schemas.own_events import read_order
from services.cli.declaring import declaration
from services.cli.producing import Outgoing, open_producer, send_all
from services.common.errors import ConfigurationError, TransientError
from services.common.queries import load_queries
from services.common.settings import KafkaSettings
from services.reporter.store import open_snapshot, translated

QUERIES = load_queries(Path(__file__).with_name("ordering.sql"))
_PAUSE_S = 0.2


class Request(NamedTuple):
    """Who asks for what, why, and when (microseconds since 1970 UTC)."""

    id: str
    by: str | None
    reason: str
    ticket: str | None
    requested_us: int


class RecordedOrder(NamedTuple):
    """An order that the writer has carried out: its own event's id, and the record that proves it; `named`: rows that the
    index of erasures has of it."""

    event_id: str
    chain_no: int
    seq: int
    record_hash: bytes
    appended_us: int
    named: int

    @property
    def id(self) -> int:
        return (self.chain_no << 48) | self.seq


def new_request(what: str, by: str | None, reason: str, ticket: str | None, now_us: int) -> Request:
    """A request under a name of its own."""
    return Request(f"{what}-{uuid4()}", by, reason, ticket, now_us)


def make_order(
    kind: str, source: str, request: Request, facts: Mapping[str, Any], part: int = 1, parts: int = 1
) -> dict[str, Outgoing]:
    """The own event, by its id. Raises ConfigurationError where what people gave (reason, ticket) does not fit."""
    event_id = f"order-{uuid4()}"
    about: dict[str, Any] = {
        "reason": request.reason,
        "requested_us": request.requested_us,
        "request": request.id,
        "part": part,
        "parts": parts,
        "ticket": request.ticket,
        **facts,
    }
    if request.by is not None:
        about["by"] = request.by
    message = declaration(event_id, about, source=source, kind=kind)
    try:
        read_order(message.value or b"")
    except ValueError as error:
        raise ConfigurationError(f"the order cannot be given so: {error}") from error
    return {event_id: message}


def give_orders(
    settings: KafkaSettings, dsn: str, orders: Mapping[str, Outgoing], patience_s: float
) -> list[RecordedOrder]:
    """Sends the orders and waits for their records. Raises TransientError where they are not recorded in time (they
    will be carried out all the same, once the writer comes to them)."""
    with open_producer(settings, "piperoll-orders") as producer:
        outcomes = send_all(producer, settings.topics.system, orders.values())
    refused = [outcome for outcome in outcomes if isinstance(outcome, str)]
    if refused:
        raise TransientError(f"audit.system did not take {len(refused)} orders: {refused[0]}; run it again")
    deadline = time.monotonic() + patience_s
    while len(recorded := asyncio.run(_recorded(settings, dsn, list(orders)))) < len(orders):
        if time.monotonic() > deadline:
            raise TransientError(
                f"the writer has not recorded the order within {patience_s:.0f} s. It stands on audit.system and will be "
                "carried out when the writer comes to it; run this again then"
            )
        time.sleep(_PAUSE_S)
    return recorded


async def _recorded(settings: KafkaSettings, dsn: str, event_ids: list[str]) -> list[RecordedOrder]:
    names = {identity_hash("own-event", event_id): event_id for event_id in event_ids}
    async with open_snapshot(dsn) as snapshot:
        with translated():
            rows = await snapshot.connection.fetch(QUERIES["recorded"], list(names), settings.topics.system)
    return [RecordedOrder(names[row["identity_hash"]], *list(row.values())[1:]) for row in rows]
