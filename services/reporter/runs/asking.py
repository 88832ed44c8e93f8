"""The model that arranges an executive summary, where one is set up. Without it, or where it does not answer, code does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from services.common.ai.outcome import Answer, Failure
from services.common.ai.settings import ai_configured, read_ai_settings
from services.common.errors import ConfigurationError, TransientError
from services.common.logging import get_logger
from services.common.settings import KafkaSettings
from services.reporter.grounding.summary import PROMPT, Ask

log = get_logger(__name__)
_GIVE_UP_S = 120.0
"""A report does not wait longer for a model."""


@asynccontextmanager
async def asker(kafka: KafkaSettings | None) -> AsyncIterator[Ask | None]:
    """Asks within the budget that all share, and on record; None where no model is set up or none can be asked now."""
    if kafka is None or not ai_configured():
        yield None
        return
    from services.common.ai.service import open_model  # noqa: PLC0415 - with openai, which takes long to import

    opened = open_model(read_ai_settings(), kafka, service="reporter")
    try:
        model = await opened.__aenter__()
    except (TransientError, ConfigurationError) as error:
        log.warning("summary_without_ai", error=str(error))
        yield None
        return

    async def ask(messages: list[dict[str, str]], name: str, schema: dict[str, Any]) -> Answer | Failure:
        try:
            return await model.ask(
                messages, name, schema, purpose="summary", prompt_version=PROMPT, give_up_after_s=_GIVE_UP_S
            )
        except TransientError as error:
            return Failure("away", str(error))

    try:
        yield ask
    finally:
        await opened.__aexit__(None, None, None)
