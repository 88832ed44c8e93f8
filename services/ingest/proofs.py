"""Proofs over HTTP: what `GET /v1/events/{id}/proof` answers.

PostgreSQL is not needed to take events, so its absence is told to who asks for a proof, and to nobody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus

import asyncpg

from schemas.proof_file import MEDIA_TYPE
from services.common.logging import get_logger
from services.common.proofs import Name, Proof, State, Wanted, prove, read_wanted
from services.common.settings import PostgresSettings, read_settings
from services.ingest.access import Access, unauthorized
from services.ingest.answers import Answer
from services.ingest.problems import ProblemError, unavailable
from services.ingest.reads import Reads
from services.ingest.settings import IN_CLEAR, IngestSettings

log = get_logger(__name__)

_CONNECTIONS = 4
_SECONDS = 5.0
_NEEDED = ("DATABASE_URL", "PG_HOST")
_NO_DATABASE = (
    "Proofs are made from PostgreSQL, and this ingest knows of none: set DATABASE_URL, or PG_HOST and its companions, "
    "with the role piperoll_reporter. Where the database is, `piperoll prove` makes the same file."
)


def proofs_dsn(variables: Mapping[str, str]) -> str | None:
    """The address of the database, None where no variable names one."""
    named = any(variables.get(name) or variables.get(f"{name}_FILE") for name in _NEEDED)
    return read_settings(PostgresSettings, variables).dsn if named else None


class Proofs:
    """Reads with a few connections, which are made when they are first needed."""

    def __init__(self, dsn: str | None, access: Access, reads: Reads, settings: IngestSettings) -> None:
        self._dsn = dsn
        self._settings = settings
        self._reads = reads
        self._access = access
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()

    async def answer(
        self, authorization: bytes | None, identifier: str, source: str | None, *, content: bool
    ) -> Answer:
        """The proof file, once it is on record who gets it. Without a key, where none is required, it leaves out what the record
        says; beyond this machine there is always a key, and TLS. Raises ProblemError."""
        if self._settings.in_clear:
            raise ProblemError(
                HTTPStatus.FORBIDDEN, "tls-required", f"No proofs are served here: {IN_CLEAR}."
            )
        key = self._access.key_of(authorization, "read")
        if key is None and self._settings.beyond_loopback:
            raise unauthorized(
                "Proofs need an API key with the scope read: send it as `Authorization: Bearer …`."
            )
        if key is not None and key.sources and (source is None or not key.may_use(source)):
            raise ProblemError(
                HTTPStatus.FORBIDDEN,
                "source-not-allowed",
                f"The key {key.name} is for some sources only: name the event by its own id and ?source=, one of them.",
            )
        wanted = Name(source, identifier) if source is not None else read_wanted(identifier)
        if wanted is None:
            raise ProblemError(
                HTTPStatus.NOT_FOUND,
                "no-such-record",
                "An id is the number that audit_events shows, or TOPIC-ID:PARTITION:OFFSET of a receipt; with ?source= "
                "it is the event's own.",
            )
        proof = await self._prove(wanted, content=content and key is not None)
        if proof.state is not State.PROVED:
            raise _problem(proof)
        about = {"event_id": identifier, "source": source} if source is not None else {"record": identifier}
        await self._reads.note(key, "proof", about | {"content": content and key is not None})
        return Answer(HTTPStatus.OK, [(b"content-type", MEDIA_TYPE.encode())], proof.file)

    async def close(self) -> None:
        """Ends the connections, idle or not."""
        if self._pool is not None:
            self._pool.terminate()
        await self._reads.close()

    async def _prove(self, wanted: Wanted, *, content: bool) -> Proof:
        if self._dsn is None:
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "no-database", _NO_DATABASE)
        try:
            async with asyncio.timeout(2 * _SECONDS):
                pool = await self._open(self._dsn)
                async with pool.acquire() as connection:
                    return await prove(connection, wanted, content=content)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            log.warning("proof_not_made", reason=f"{type(error).__name__}: {error}")
            raise unavailable(
                "database-away",
                "The database does not answer now: ask again later. Whoever runs this finds the reason in the log.",
                int(_SECONDS),
            ) from None

    async def _open(self, dsn: str) -> asyncpg.Pool:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    dsn,
                    min_size=0,
                    max_size=_CONNECTIONS,
                    timeout=_SECONDS,
                    command_timeout=_SECONDS,
                    server_settings={
                        "application_name": "piperoll-ingest",
                        "default_transaction_read_only": "on",
                        "jit": "off",
                    },
                )
            return self._pool


def _problem(proof: Proof) -> ProblemError:
    if proof.state is State.NOT_SEALED:
        return unavailable("not-sealed-yet", f"{proof.text}.", int(_SECONDS))
    if proof.state is State.ABSENT:
        return ProblemError(HTTPStatus.NOT_FOUND, "no-such-record", f"{proof.text}")
    if proof.state is State.AMBIGUOUS:
        return ProblemError(HTTPStatus.CONFLICT, "several-records", proof.text)
    log.error("record_not_as_sealed", reason=proof.text)
    return ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, "not-as-sealed", proof.text)
