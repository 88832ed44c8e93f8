"""The AI account: what was asked, what it did, what people made of it."""

from __future__ import annotations

from typing import Any

from services.reporter.contents.citing import cites
from services.reporter.contents.selection import Selection
from services.reporter.figures import Figures

_NUMBERS = ("requests", "tokens_in", "tokens_out")


async def ai_account(selection: Selection, figures: Figures) -> dict[str, Any]:
    """Requests by model, purpose, prompt and outcome; events read, raised, raised to high by AI alone, withdrawn by review, and
    those whose reading is still to come."""
    requests = [
        {
            "model": row["model"],
            "purpose": row["purpose"],
            "prompt_version": row["prompt_version"],
            "outcome": row["outcome"],
            "requests": row["requests"],
            "tokens_in": row["tokens_in"],
            "tokens_out": row["tokens_out"],
            "median_latency_ms": row["median_latency_ms"],
            "cites": cites(row["first_id"]),
        }
        for row in await selection.fetch("inferences")
    ]
    (did,) = await selection.fetch("raised")
    pending = figures.one("pending")
    return {
        **{name: sum(one[name] for one in requests) for name in _NUMBERS},
        "failed": sum(one["requests"] for one in requests if one["outcome"] != "answered"),
        "by_model": requests,
        "read": {"events": did["read"], "cites": cites(did["first_read"])},
        "raised": {"events": did["raised"], "cites": cites(did["first_raised"])},
        "raised_to_high_by_ai_alone": {
            "events": did["raised_high"],
            "cites": cites(did["first_raised_high"]),
        },
        "withdrawn_by_review": {"events": did["withdrawn"], "cites": cites(did["first_withdrawn"])},
        "pending": {"events": pending.events, "cites": cites(pending.first_id)},
    }
