"""One question to a model through the `openai` package: OpenAI, Azure OpenAI, or a server compatible with them."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
from openai import AsyncAzureOpenAI, AsyncOpenAI
from openai.types.chat import ChatCompletion

from services.common.ai.openai_errors import failure_of
from services.common.ai.outcome import Answer, Failure
from services.common.ai.settings import AiSettings
from services.common.logging import get_logger

log = get_logger(__name__)

Message = dict[str, str]
_FORMS = ("json_schema", "json_object", "text")
"""Ways to ask for JSON, best first. The same checks follow, whichever it is."""
_LIMITS = ("max_completion_tokens", "max_tokens")
_ABOUT_FORM = ("response_format", "json_schema", "json_object", "structured")


class Client:
    """Asks once per call, and never tries again by itself: whoever calls counts and records each request.

    What a server refuses (a form of JSON, a name of a parameter) is found out once: the call fails as "dialect", and
    the next one asks in a plainer way.
    """

    def __init__(self, settings: AiSettings) -> None:
        self.model = settings.model_name
        self.output_tokens = settings.output_tokens
        self._settings = settings
        self._key = settings.key.get_secret_value() if settings.key else ""
        self._openai = _new_openai(settings, self._key)
        self._form = 0
        self._limit = 0
        self._proven = False

    @property
    def form(self) -> str:
        """How JSON is asked for at present."""
        return _FORMS[self._form]

    async def ask(
        self, messages: list[Message], name: str, schema: dict[str, Any], *, output_tokens: int | None = None
    ) -> Answer | Failure:
        """One request for JSON by `schema`. Never raises for what a server can do."""
        form, limit = self._form, self._limit
        request: dict[str, Any] = {"model": self.model, "messages": messages}
        request[_LIMITS[limit]] = output_tokens or self.output_tokens
        if _FORMS[form] == "json_schema":
            wanted = {"name": name, "strict": True, "schema": schema}
            request["response_format"] = {"type": "json_schema", "json_schema": wanted}
        elif _FORMS[form] == "json_object":
            request["response_format"] = {"type": "json_object"}
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                got = await self._openai.chat.completions.create(**request)
        except (openai.OpenAIError, TimeoutError, ValueError) as error:
            return self._failed(error, form, limit)
        result = _read(got)
        self._proven = self._proven or isinstance(result, Answer)
        return result

    async def close(self) -> None:
        """Closes the connections."""
        await self._openai.close()

    def _failed(self, error: Exception, form: int, limit: int) -> Failure:
        failure = failure_of(error, self._key)
        said = f"{getattr(error, 'message', '')} {getattr(error, 'param', '')}"
        if failure.kind != "request" and failure.status != 501:
            return failure
        if _LIMITS[limit] in said and limit + 1 < len(_LIMITS):
            self._limit = max(self._limit, limit + 1)
            log.info("ai_parameter_refused", parameter=_LIMITS[limit], instead=_LIMITS[self._limit])
            return failure._replace(kind="dialect")
        about_form = any(word in said for word in _ABOUT_FORM)
        if form + 1 < len(_FORMS) and (about_form or not self._proven):
            self._form = max(self._form, form + 1)
            log.info("ai_form_refused", form=_FORMS[form], instead=self.form, status=failure.status)
            return failure._replace(kind="dialect")
        return failure


def _new_openai(settings: AiSettings, key: str) -> AsyncOpenAI:
    """The package's client. It gets all by argument, so that nothing of the environment changes it."""
    if settings.azure_endpoint:
        return AsyncAzureOpenAI(
            azure_endpoint=settings.azure_endpoint,
            azure_deployment=settings.model_name,
            api_key=key,
            api_version=settings.api_version,
            max_retries=0,
            timeout=settings.timeout_s,
        )
    return AsyncOpenAI(
        api_key=key,
        base_url=settings.base_url or "https://api.openai.com/v1",
        max_retries=0,
        timeout=settings.timeout_s,
    )


def _read(got: Any) -> Answer | Failure:
    """The answer in what the package made of the server's bytes, which it does not check."""
    if not isinstance(got, ChatCompletion):
        return Failure("malformed", "the server's answer is no chat completion: check OPENAI_BASE_URL")
    error = (got.model_extra or {}).get("error")
    if isinstance(error, dict):  # seen live on Azure: status 200 and an error
        filtered = error.get("code") == "content_filter"
        return Failure(
            "refused" if filtered else "malformed", "the provider declined or failed within an answer"
        )
    if not isinstance(got.choices, list) or not got.choices:
        return Failure("malformed", "the server's answer has no choices")
    return _read_choice(got, got.choices[0])


def _read_choice(got: ChatCompletion, choice: Any) -> Answer | Failure:
    tokens_in = _count(got.usage, "prompt_tokens")
    tokens_out = _count(got.usage, "completion_tokens")
    message = getattr(choice, "message", None)
    finish = getattr(choice, "finish_reason", None)
    text = getattr(message, "content", None)
    failure: Failure | None = None
    if getattr(message, "refusal", None) or finish == "content_filter":
        failure = Failure("refused", "the model or the provider's filter declined")
    elif finish == "length":
        failure = Failure(
            "truncated", "the answer is cut off: raise AI_MAX_OUTPUT_TOKENS or lower AI_EVENTS_PER_REQUEST"
        )
    elif not isinstance(text, str) or not text:
        failure = Failure("malformed", "the answer is empty")
    if failure is not None:
        return failure._replace(tokens_in=tokens_in, tokens_out=tokens_out)
    assert isinstance(text, str)
    return Answer(text, str(got.model)[:200], tokens_in, tokens_out)


def _count(usage: Any, name: str) -> int:
    count = getattr(usage, name, None)
    return count if isinstance(count, int) and 0 <= count < 2**53 else 0
