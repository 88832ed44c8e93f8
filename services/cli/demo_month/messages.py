"""A draft as a message: its id, its sequence number and its bytes."""

from __future__ import annotations

import json
from collections import Counter
from random import Random
from typing import Any, Literal, NamedTuple
from uuid import UUID

from schemas.topics import BACKFILL
from services.cli.demo_month.days import iso
from services.cli.demo_month.drafts import Draft, Form, Route

Fate = Literal["event", "duplicate", "poison"]
"""What the message must become in the record."""


class Message(NamedTuple):
    """One message as a client sends it. `arrives`: when, in milliseconds since 1970 UTC; the order of sending.

    `source` and `id` are its identity, both empty in poison. The id of a short form goes beside it (Idempotency-Key). `story`: the step of the incident. `flaw`: what is wrong on purpose.
    """

    arrives: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    route: Route
    form: Form
    fate: Fate
    source: str
    id: str
    type: str
    story: str = ""
    flaw: str = ""


class Scribe:
    """Writes drafts down in the order of their time: ids by the seed, sequence numbers by source."""

    def __init__(self, rng: Random, declaration: str) -> None:
        self._rng = rng
        self._declaration = declaration
        self._sequence: Counter[str] = Counter()

    def write(self, draft: Draft) -> Message:
        if draft.form == "bare":
            return self._bare(draft)
        identifier = str(UUID(int=self._rng.getrandbits(128), version=4))
        if draft.form == "short":
            body = {"event_type": draft.type, "event_data": draft.data, "source": draft.source}
            body[BACKFILL] = self._declaration
            return self._message(draft, draft.at, compact(body), [], identifier)._replace(key=None)
        attributes = self._attributes(draft, identifier)
        if draft.form == "binary":
            headers = [(f"ce_{name}", text.encode()) for name, text in attributes.items()]
            headers.append(("content-type", b"application/json"))
            return self._message(draft, self._soon(draft.at), compact(draft.data), headers, identifier)
        value = compact(attributes | {"datacontenttype": "application/json", "data": draft.data})
        return self._message(draft, self._soon(draft.at), value, [], identifier)

    def _attributes(self, draft: Draft, identifier: str) -> dict[str, str]:
        self._sequence[draft.source] += 1
        return {
            "specversion": "1.0",
            "id": identifier,
            "source": draft.source,
            "type": draft.type,
            **({"subject": draft.subject} if draft.subject else {}),
            "time": iso(draft.at),
            "partitionkey": draft.key,
            "sequence": f"{self._sequence[draft.source]:010d}",
            BACKFILL: self._declaration,
        }

    def _bare(self, draft: Draft) -> Message:
        """Bare JSON comes with the log shipper, minutes later; it names its back-fill in a header."""
        arrives = (draft.at // 300_000 + 1) * 300_000 + self._rng.randrange(60_000, 200_000)
        headers = [(BACKFILL, self._declaration.encode())]
        return self._message(draft, arrives, compact(draft.data), headers, draft.data["eventID"])

    def _message(
        self, draft: Draft, arrives: int, value: bytes, headers: list[tuple[str, bytes]], identifier: str
    ) -> Message:
        return Message(
            arrives,
            draft.key.encode(),
            value,
            headers,
            draft.route,
            draft.form,
            "event",
            draft.source,
            identifier,
            draft.type,
            draft.story,
            draft.flaw,
        )

    def _soon(self, at: int) -> int:
        return at + self._rng.randrange(20, 1500)


def compact(data: Any) -> bytes:
    """JSON without blanks, in UTF-8, keys in their order."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()
