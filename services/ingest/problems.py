"""Errors as RFC 9457 problems: what is wrong and what to do, for people and for programs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec

from services.ingest.answers import Answer

MEDIA_TYPE = b"application/problem+json"


class ProblemError(Exception):
    """Ends a request with a problem. `kind` names it in its type, `detail` says what to do, `members` are the
    extension members, `headers` those of the answer."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        headers: dict[bytes, bytes] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = headers or {}
        self.members = members

    @property
    def title(self) -> str:
        return self.kind.replace("-", " ").capitalize()

    def body(self) -> dict[str, Any]:
        return {
            "type": f"urn:piperoll:problem:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        } | self.members

    def answer(self) -> Answer:
        headers = [(b"content-type", MEDIA_TYPE), *self.headers.items()]
        return Answer(self.status, headers, msgspec.json.encode(self.body()))


def unavailable(kind: str, detail: str, retry_after: int, **members: Any) -> ProblemError:
    """503 with Retry-After in seconds."""
    headers = {b"retry-after": str(retry_after).encode()}
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, kind, detail, headers=headers, **members)


def too_large(what: str, limit: int, setting: str) -> ProblemError:
    """413 that names the limit."""
    return ProblemError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "too-large",
        f"{what} has more than {limit} bytes. Send less at once, or raise {setting} here.",
        limit=limit,
    )
