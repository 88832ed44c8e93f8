"""What an error of the openai package means. Apart from `outcome`: importing openai takes a second of CPU time."""

from __future__ import annotations

import email.utils
import re
import time
from typing import Any

import openai

from schemas.text import neutral
from services.common.ai.outcome import Failure, Kind

_KEY_ADVICE = (
    "the key is refused: set OPENAI_API_KEY (Azure: AZURE_OPENAI_API_KEY) to one that may use this model"
)
_ADVICE: dict[int, tuple[Kind, str]] = {
    401: ("key", _KEY_ADVICE),
    403: ("key", _KEY_ADVICE),
    404: (
        "model",
        "no such model here: set OPENAI_MODEL (Azure: AZURE_OPENAI_DEPLOYMENT), and check OPENAI_BASE_URL ({said})",
    ),
    408: ("away", "the model's server gave up waiting: if it goes on, see the provider's status page"),
    409: ("away", "the model's server is busy: if it goes on, see the provider's status page"),
    429: ("rate", "too many requests for this account: lower AI_MAX_REQUESTS_PER_MINUTE"),
}


def failure_of(error: Exception, key: str) -> Failure:
    """What an error of the openai package (or of reading its answer) means."""
    if isinstance(error, openai.APITimeoutError | TimeoutError):
        return Failure("slow", "no answer within AI_TIMEOUT seconds: raise it, or use a faster model")
    if isinstance(error, openai.APIStatusError):
        return _status_failure(error, key)
    if isinstance(error, openai.APIConnectionError):
        return Failure(
            "away",
            f"the model's server is not reached ({_cause(error)}): check OPENAI_BASE_URL or AZURE_OPENAI_ENDPOINT, "
            "network and proxy",
        )
    return Failure("malformed", f"the server's answer cannot be read ({type(error).__name__})")


def _status_failure(error: openai.APIStatusError, key: str) -> Failure:
    status, said, code = error.status_code, _said(error, key), str(error.code or "")
    if status == 429 and ("quota" in code or "quota" in said or "billing" in said):
        return Failure("quota", "the account's quota is used up: add credit or raise its limit", status)
    if status in _ADVICE:
        kind, advice = _ADVICE[status]
        return Failure(kind, advice.format(said=said), status, retry_after(error.response.headers))
    if status >= 500:
        advice = f"the model's server fails (status {status}): if it goes on, see the provider's status page"
        return Failure("away", advice, status, retry_after(error.response.headers))
    if "content_filter" in code or "content management policy" in said:
        return Failure("refused", "the provider's content filter declined", status)
    return Failure("request", f"the request is refused (status {status}: {said})", status)


def retry_after(headers: Any) -> float | None:
    """Seconds to wait by `retry-after-ms` or `Retry-After` (seconds or a date); None without."""
    try:
        if headers.get("retry-after-ms"):
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        said = headers.get("retry-after")
        if said is None:
            return None
        if re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", said.strip()):
            return float(said)
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _said(error: openai.APIStatusError, key: str) -> str:
    """What the server says, without our key and bounded: it goes to logs and terminals."""
    body = error.body
    said = body.get("message") if isinstance(body, dict) else None
    text = neutral(said if isinstance(said, str) else "", 200)
    return re.sub(r"\bsk-\S+", "…", text.replace(key, "…") if key else text)


def _cause(error: BaseException) -> str:
    cause = error.__cause__ or error
    return neutral(f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__, 120)
