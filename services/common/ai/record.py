"""What goes on record of asking a model: an own event for each request, an alert when a budget is used up. Pure, but for
the log of prompts."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from services.common.ai.account import Purpose
from services.common.ai.asker import Exchange
from services.common.alerts import Alert

INFERENCE = "model_inference"


def inference_event(exchange: Exchange, source: str, now_us: int) -> bytes:
    """The own event of one request to a model; `source` is the service's. No model is ever asked about it."""
    time = iso(now_us)
    data = {
        "user_id": source,
        "model": exchange.model,
        "model_version": exchange.answered_by or exchange.model,
        "purpose": exchange.about.purpose,
        "prompt_version": exchange.about.prompt_version,
        "input_hash": exchange.input_hash,
        "output_hash": exchange.output_hash,
        "tokens_in": exchange.tokens_in,
        "tokens_out": exchange.tokens_out,
        "cost_usd": None if exchange.micro is None else exchange.micro / 1_000_000,
        "prices_of": exchange.priced or None,
        "latency_ms": exchange.latency_ms,
        "outcome": exchange.outcome,
        "status": exchange.status,
        "timestamp": time,
    }
    return own_event(source, INFERENCE, uuid4().hex, time, data)


def own_event(source: str, kind: str, identity: str, time: str, data: dict[str, Any]) -> bytes:
    """A CloudEvent for audit.system."""
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": identity,
            "source": source,
            "type": kind,
            "time": time,
            "datacontenttype": "application/json",
            "data": data,
        }
    )


def budget_alert(limit: str, purpose: Purpose, model: str, now_us: int) -> Alert:
    """That a limit is reached: said once a month, limit and purpose, whoever says it (the id follows from them)."""
    month = iso(now_us)[:7]
    identity = sha256(f"ai-budget/{month}/{limit}/{purpose}/{model}".encode()).hexdigest()[:32]
    period, unit = limit.split()
    text = (
        f"The AI budget is used up: {unit} a {period}, for purpose {purpose}. Events flow on with summaries by rules. "
        f"To have more read, raise AI_MAX_{unit.upper()}_PER_{period.upper()}; `piperoll enrich again` takes up what was passed by."
    )
    facts: dict[str, object] = {"month": month, "limit": limit, "purpose": purpose, "model": model}
    return Alert(identity, "medium", "ai_budget_reached", text, facts)


def failing_alert(why: str, failed: int, made: int, model: str, now_us: int) -> Alert:
    """That most requests of an hour fail: said once an hour and reason."""
    hour = iso(now_us)[:13]
    identity = sha256(f"ai-failing/{hour}/{why}/{model}".encode()).hexdigest()[:32]
    text = (
        f"The model {model} gives no readings: {failed} of {made} requests within the hour failed, most often as `{why}`. Events flow "
        "on with summaries by rules; `piperoll ai check` says what to fix."
    )
    facts: dict[str, object] = {"model": model, "why": why, "failed": failed, "requests": made}
    return Alert(identity, "medium", "ai_failing", text, facts)


def iso(us: int) -> str:
    """Microseconds since 1970 as ISO 8601 in UTC."""
    return datetime.fromtimestamp(us / 1_000_000, tz=UTC).isoformat(timespec="milliseconds")


def log_prompt(file: Path, exchange: Exchange, now_us: int) -> None:
    """Appends what was sent and what came back as a line of JSON; the hashes are those on record. The file is the
    owner's alone."""
    line = {
        "time": iso(now_us),
        "input_hash": exchange.input_hash,
        "output_hash": exchange.output_hash,
        "model": exchange.model,
        "messages": exchange.messages,
        "answer": exchange.text,
    }
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "a", encoding="utf-8") as opened:
        opened.write(json.dumps(line, ensure_ascii=True) + "\n")
