"""Who may send: bearer tokens against the file of API keys, which is read again when it changes."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

from services.common.errors import ConfigurationError
from services.common.logging import get_logger
from services.ingest.keys import ApiKey, Scope, find_key, read_keys
from services.ingest.problems import ProblemError
from services.ingest.watched import file_stamp

log = get_logger(__name__)


class Access:
    """Answers for each request whose key it carries. Raises ConfigurationError where the file is wrong at start."""

    def __init__(self, path: Path | None, *, required: bool) -> None:
        self._path = path
        self._required = required
        self._stamp = None if path is None else file_stamp(path)
        self._keys: list[ApiKey] = [] if path is None else read_keys(path)

    def reload(self) -> None:
        """Takes the file's new content where it has changed. A file that is wrong or gone changes nothing: the keys
        stay, and the log says it."""
        if self._path is None:
            return
        stamp = file_stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._keys = read_keys(self._path)
        except ConfigurationError as error:
            log.error("keep_old_api_keys", reason=str(error))  # noqa: TRY400 - the text says all
            return
        log.info("read_api_keys", keys=len(self._keys))

    def key_of(self, authorization: bytes | None, scope: Scope) -> ApiKey | None:
        """The key of a request, None where none is given and none is needed. Raises ProblemError (401, 403)."""
        if authorization is None:
            if self._required:
                raise unauthorized("An API key is required: send it as `Authorization: Bearer …`.")
            return None
        kind, _, token = authorization.decode("latin-1").partition(" ")
        key = find_key(self._keys, token.strip()) if kind.lower() == "bearer" else None
        if key is None:
            raise unauthorized("This API key is not known here: check it, or ask for a new one.")
        if scope not in key.scopes:
            raise ProblemError(
                HTTPStatus.FORBIDDEN,
                "scope-missing",
                f"The key {key.name} has no scope {scope}: use a key that has it.",
                scope=scope,
            )
        return key


def unauthorized(detail: str) -> ProblemError:
    """401."""
    return ProblemError(
        HTTPStatus.UNAUTHORIZED,
        "unauthorized",
        detail,
        headers={b"www-authenticate": b'Bearer realm="piperoll"'},
    )
