"""The demo with an AI key: capped at a quarter of a dollar, and what it cost."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from services.cli.ai_usage import read_usage
from services.common.ai.settings import ai_configured, read_ai_settings
from services.common.errors import ConfigurationError
from services.common.settings import environment

CAP_DOLLARS = 0.25


def cap_ai(say: Callable[[str], None]) -> bool:
    """Whether a model is to be asked in the demo. If so, all processes of the demo have a limit of $0.25 together, or the
    user's own where that is lower; without a price of the model, which the limit needs, none is asked."""
    variables = environment()
    if not ai_configured(variables):
        return False
    settings = read_ai_settings(variables)
    cap = min(CAP_DOLLARS, settings.dollars_a_month or CAP_DOLLARS)
    os.environ["AI_MAX_DOLLARS_PER_MONTH"] = str(cap)
    try:
        settings.model_copy(update={"dollars_a_month": cap}).price()
    except ConfigurationError as error:
        say(f"no AI in this demo: {error}")
        return False
    say(f"AI: {settings.model_name} reads events, for ${cap:.2f} at most")
    return True


def cost_line(dsn: str) -> str:
    """What the requests that are recorded so far cost."""
    usage = asyncio.run(read_usage(dsn, 0))
    said = usage.as_json()
    return (
        f"AI: {said['requests']:,} requests, ${said['dollars']:.4f} so far; {100 * (said['share_ai'] or 0):.1f} % of the events have "
        "its reading (piperoll ai usage)"
    )
