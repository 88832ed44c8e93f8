"""What ingest reads of a request's line and headers, in one pass."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from schemas.cloudevents import check_nonempty
from services.ingest.problems import ProblemError

WAIT_DEFAULT = 5.0
WAIT_MAX = 60.0
_KEPT = frozenset(
    {b"content-type", b"content-length", b"content-encoding", b"authorization", b"idempotency-key"}
)


class Head:
    """Of a header that stands twice the first counts; ASGI gives names in lower case."""

    __slots__ = ("_query", "authorization", "content_length", "encoding", "headers", "kept")

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self.headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
        self.kept: dict[bytes, bytes] = {}
        for name, text in self.headers:
            if name in _KEPT:
                self.kept.setdefault(name, text)
        self.authorization = self.kept.get(b"authorization")
        self.encoding = self.kept.get(b"content-encoding")
        length = self.kept.get(b"content-length")
        self.content_length = None if length is None else int(length)
        self._query: bytes = scope["query_string"]

    @property
    def content_type(self) -> str | None:
        raw = self.kept.get(b"content-type")
        return None if raw is None else raw.decode("utf-8", "replace")

    @property
    def idempotency_key(self) -> str | None:
        """The key, bare or as a quoted string (as the IETF draft has it). Raises ProblemError."""
        raw = self.kept.get(b"idempotency-key")
        if raw is None:
            return None
        try:
            text = raw.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise ProblemError(
                HTTPStatus.BAD_REQUEST, "idempotency-key", "Idempotency-Key is no UTF-8: send plain text."
            ) from None
        if len(text) > 1 and text[0] == text[-1] == '"':
            text = text[1:-1]
        wrong = check_nonempty(text)
        if wrong is not None:
            raise ProblemError(HTTPStatus.BAD_REQUEST, "idempotency-key", f"Idempotency-Key {wrong}.")
        return text

    @property
    def receipt(self) -> bool:
        """Whether a receipt is wanted: `?receipt=1`. Raises ProblemError."""
        if b"receipt" not in self._query:
            return False
        given = parse_qs(self._query.decode("latin-1"), keep_blank_values=True).get("receipt", ["0"])[-1]
        if given not in ("0", "1"):
            raise ProblemError(HTTPStatus.BAD_REQUEST, "receipt", "receipt is 1 or 0.")
        return given == "1"

    @property
    def wait(self) -> float:
        """Seconds to wait for the reply: `?wait=`, 60 at most. Raises ProblemError."""
        if not self._query:
            return WAIT_DEFAULT
        given = parse_qs(self._query.decode("latin-1"), keep_blank_values=True).get("wait")
        if given is None:
            return WAIT_DEFAULT
        try:
            seconds = float(given[-1])
        except ValueError:
            seconds = math.nan
        if not seconds >= 0:
            raise ProblemError(
                HTTPStatus.BAD_REQUEST, "wait", "wait is a number of seconds from 0 (do not wait) to 60."
            )
        return min(seconds, WAIT_MAX)
