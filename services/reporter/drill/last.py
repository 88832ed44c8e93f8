"""The last tamper drill on record, for reports: whether the control works, or was not tried."""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.commitment import decode_body
from services.reporter.store import Snapshot

_TYPE = "piperoll.drill"


class DrillFacts(msgspec.Struct):
    """What a drill's own event says."""

    passed: bool
    attacks: int = 0
    detected: int = 0
    slowest_seconds: float = 0.0
    missed: list[str] = []


class _Event(msgspec.Struct):
    data: DrillFacts
    time: str = ""


class LastDrill(msgspec.Struct):
    """The record, when the drill says it was, and what came of it."""

    chain_no: int
    seq: int
    time: str
    facts: DrillFacts

    @property
    def sentence(self) -> str:
        """In one line; holds no text from events but the time."""
        facts = self.facts
        how = "PASSED" if facts.passed else "FAILED"
        return (
            f"The last tamper drill on record {how}: {facts.detected} of {facts.attacks} attacks on a copy of sealed records "
            f"were found, named and placed, the slowest in {facts.slowest_seconds:.2f} s"
        )

    def as_json(self) -> dict[str, Any]:
        return {"record": f"{self.chain_no}:{self.seq}", "time": self.time, **msgspec.to_builtins(self.facts)}


NONE_ON_RECORD = (
    "No tamper drill is on record: whether changes would be found was not tried (`piperoll drill`)."
)


async def last_drill(snapshot: Snapshot) -> LastDrill | None:
    """The newest own event of a drill that can be read."""
    for row in reversed(await snapshot.fetch("orders", _TYPE)):
        try:
            event = msgspec.json.decode(decode_body(row["body"] or b"").value or b"", type=_Event)
        except (ValueError, msgspec.MsgspecError):
            continue
        return LastDrill(row["chain_no"], row["seq"], event.time, event.data)
    return None
