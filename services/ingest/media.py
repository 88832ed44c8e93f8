"""Which form a request's body has, by its headers alone: known before a byte of it is read."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from http import HTTPStatus

from schemas.cloudevents import is_binary
from services.ingest.problems import ProblemError


class Form(Enum):
    """The forms of a body, with the media types that say so."""

    JSON = ("application/json",)  # the short form, or a CloudEvent
    STRUCTURED = ("application/cloudevents+json",)
    BATCH = ("application/cloudevents-batch+json",)
    LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")
    BINARY = ()  # any media type, with ce- headers

    @property
    def many(self) -> bool:
        return self in (Form.BATCH, Form.LINES)


_BY_TYPE = {media: form for form in Form for media in form.value}
_UTF8 = ("utf-8", "utf8", "us-ascii")


def form_of(content_type: str | None, headers: Sequence[tuple[bytes, bytes]], *, many: bool) -> Form:
    """The form of the body. `many`: whether a request may hold several events. Raises ProblemError (415)."""
    media, charset = _split(content_type)
    form = _BY_TYPE.get(media)
    if media.startswith("application/cloudevents"):
        if form is None:
            raise _unsupported(f"{media} is not taken: only the JSON format of CloudEvents is", many)
    elif is_binary(headers):
        form = Form.BINARY
    if form is None:
        raise _unsupported(_why(media), many)
    if form.many and not many:
        raise _unsupported(f"{media} holds several events: POST it to /v1/events", many)
    if form is not Form.BINARY and charset not in _UTF8:
        raise _unsupported(f"charset={charset} is not taken: JSON is UTF-8", many)
    return form


def refuse_encoding(encoding: bytes | None, *, many: bool) -> None:
    """Raises ProblemError (415) for a compressed body."""
    if encoding is not None and encoding.strip().lower() not in (b"", b"identity"):
        raise _unsupported("compressed bodies are not taken: send it without Content-Encoding", many)


def _split(content_type: str | None) -> tuple[str, str]:
    """Media type and charset in lower case."""
    media, _, parameters = (content_type or "").lower().partition(";")
    charset = "utf-8"
    for parameter in parameters.split(";"):
        name, _, text = parameter.partition("=")
        if name.strip() == "charset":
            charset = text.strip().strip('"')
    return media.strip(), charset


def _why(media: str) -> str:
    if not media:
        return "there is no Content-Type: add `Content-Type: application/json`"
    if media == "application/x-www-form-urlencoded":
        return "curl sends this Content-Type by itself: add -H 'Content-Type: application/json'"
    return f"{media[:100]} is not taken without ce- headers"


def _unsupported(why: str, many: bool) -> ProblemError:
    taken = [media for form in Form if many or not form.many for media in form.value]
    return ProblemError(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "unsupported-media-type",
        f"{why}. Taken are {', '.join(taken)}, and any type with the ce- headers of a binary CloudEvent.",
        headers={b"accept-post": ", ".join(taken).encode()},
        taken=taken,
    )
