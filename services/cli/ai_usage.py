"""What the AI did and cost, from the records: every figure is SQL over what is chained."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from services.common.queries import load_queries
from services.reporter.store import open_snapshot, translated

QUERIES = load_queries(Path(__file__).with_name("ai.sql"))


class Usage(NamedTuple):
    """Rows of requests by model, purpose and outcome, and counts of events."""

    requests: list[dict[str, Any]]
    events: dict[str, int]

    @property
    def made(self) -> int:
        """Requests."""
        return sum(row["requests"] for row in self.requests)

    @property
    def dollars(self) -> float:
        """By the prices that each request was recorded with."""
        return sum(row["dollars"] or 0.0 for row in self.requests)

    def as_json(self) -> dict[str, Any]:
        """For programs. Shares are of 1, None where there is nothing to divide by."""
        events = self.events["events"]
        return {
            "requests": self.made,
            "answered": sum(row["requests"] for row in self.requests if row["outcome"] == "answered"),
            "tokens_in": sum(row["tokens_in"] or 0 for row in self.requests),
            "tokens_out": sum(row["tokens_out"] or 0 for row in self.requests),
            "dollars": round(self.dollars, 6),
            "requests_without_price": sum(row["unpriced"] for row in self.requests),
            "events": events,
            "dollars_per_1000_events": _share(1000 * self.dollars, events),
            "cache_hit_rate": _share(
                self.events["at_once"], self.events["at_once"] + self.events["shape_awaited"]
            ),
            "share_ai": _share(self.events["by_ai"], events),
            "share_rules": _share(self.events["by_rules"], events),
            "share_late": _share(self.events["late"], events),
            "raised_by_ai": self.events["raised"],
            "called_lower_by_ai": self.events["called_lower"],
            "by_purpose": self.requests,
        }

    def lines(self) -> list[str]:
        """For people."""
        said = self.as_json()
        cost = f"${said['dollars']:.4f}"
        if said["requests_without_price"]:
            cost += f" and {said['requests_without_price']:,} requests of unknown price (AI_PRICES_FILE)"
        lines = [
            f"requests    {said['requests']:,}, {said['answered']:,} answered",
            f"tokens      {said['tokens_in']:,} in, {said['tokens_out']:,} out",
            f"cost        {cost}; {_dollars(said['dollars_per_1000_events'])} per 1,000 events",
            f"events      {said['events']:,}: {_percent(said['share_ai'])} read by AI, {_percent(said['share_rules'])} by rules alone",
            f"late        {_percent(said['share_late'])} of the events had their reading after they were recorded",
            f"hit rate    {_percent(said['cache_hit_rate'])} of the events below high risk found the reading of their shape",
            f"disagrees   AI above rules {said['raised_by_ai']:,}, below {said['called_lower_by_ai']:,}",
        ]
        return lines + [
            f"  {row['model']} {row['purpose'] or '-'} {row['outcome']}: {row['requests']:,}"
            for row in self.requests
        ]


async def read_usage(dsn: str, since_us: int) -> Usage:
    """What was recorded from `since_us` (microseconds since 1970 UTC) on. Raises TransientError, ConfigurationError."""
    async with open_snapshot(dsn) as snapshot:
        with translated():
            requests = [dict(row) for row in await snapshot.connection.fetch(QUERIES["requests"], since_us)]
            events = await snapshot.connection.fetchrow(QUERIES["events"], since_us)
    assert events is not None
    return Usage(requests, dict(events))


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, 6) if whole else None


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _dollars(amount: float | None) -> str:
    return "-" if amount is None else f"${amount:.4f}"
