"""Reviews: own events in which a person says what an event turned out to be. The writer notes which event each is about,
and the view audit_events shows the last one. Pure.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec

from schemas.own_events import Name, NamedEvent, Reason

REVIEW = "piperoll.review"
"""The type of the own event."""
Status = Literal["open", "explained", "incident", "false-positive"]
STATUSES: tuple[Status, ...] = get_args(Status)
WITHDRAWS: Status = "false-positive"
"""Takes out of an event's risk what AI alone had said until then; never the rules' floor."""


class Review(msgspec.Struct, frozen=True):
    """Who says what of which event, and why; `user` is the name at the machine where it was said, `record` the event's
    record (chain:seq), `before` the status until then, None where there was no review."""

    by: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    event: NamedEvent
    status: Status
    reason: Reason
    record: Name = ""
    user: Name = ""
    before: Status | None = None


class _Envelope(msgspec.Struct):
    type: str
    data: msgspec.Raw = msgspec.Raw(b"null")


def is_review(value: bytes) -> bool:
    """Whether an own event's Kafka value is a review, well made or not."""
    if REVIEW.encode() not in value:
        return False
    try:
        return msgspec.json.decode(value, type=_Envelope).type == REVIEW
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


def read_review(value: bytes) -> Review:
    """The review that an own event's Kafka value is. Raises ValueError."""
    if b"\\u0000" in value:
        raise ValueError("U+0000 in a review: PostgreSQL's jsonb does not take it")
    try:
        envelope = msgspec.json.decode(value, type=_Envelope)
        if envelope.type != REVIEW:
            raise ValueError(f"{envelope.type[:80]!r} is no review")
        return msgspec.json.decode(envelope.data, type=Review)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not a review: {error}") from error


__all__ = ["REVIEW", "STATUSES", "WITHDRAWS", "Review", "Status", "is_review", "read_review"]
