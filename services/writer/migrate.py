"""Brings a database to the present schema: roles, then the numbered migrations that it does not have yet.

Each migration is one transaction under an advisory lock, recorded with its checksum: run it as often as you like and
from several processes at once. A crash leaves the migrations before the one under way.

`python -m services.writer.migrate` is the step before the services start: settings by environment, exit status 0 up to
date, 1 failed, 2 wrong settings.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import os
import sys
from collections.abc import Iterator, Mapping
from hashlib import pbkdf2_hmac, sha256
from pathlib import Path
from typing import NamedTuple

import asyncpg

from services.common.errors import ConfigurationError, FatalError, TransientError
from services.common.logging import configure_logging, get_logger
from services.common.settings import LogSettings, PostgresSettings, read_settings
from services.writer.settings import MigrateSettings

log = get_logger(__name__)

HERE = Path(__file__).parent
LOGIN_ROLES = ("piperoll_writer", "piperoll_sealer", "piperoll_reporter", "piperoll_operator")
"""Roles that sign in, each with a password of its own."""
LOCK_TIMEOUT_S = 60
STATEMENT_TIMEOUT_S = 600
_ADVISORY_LOCK = 0x61756469742E6D67
_LOST_RACES = ("XX000", "23505", "42710")
"""`tuple concurrently updated`, and roles that another database's migration made just now."""
_SCRAM_ROUNDS = 4096


class Migration(NamedTuple):
    """One numbered file; `checksum` is the hex SHA-256 of its bytes."""

    number: int
    name: str
    checksum: str
    sql: str


def migrations(directory: Path = HERE / "migrations") -> Iterator[Migration]:
    """The migrations in their order."""
    for path in sorted(directory.glob("[0-9][0-9][0-9][0-9]_*.sql")):
        raw = path.read_bytes()
        yield Migration(int(path.name[:4]), path.stem, sha256(raw).hexdigest(), raw.decode())


def migrate(dsn: str, passwords: Mapping[str, str]) -> list[str]:
    """Migrates the database at `dsn`, whose user may create roles and owns the database. `passwords` maps login
    roles (LOGIN_ROLES) to passwords to set; a role left out keeps its own. Returns the names of the migrations
    applied. Raises ConfigurationError, TransientError or FatalError."""
    return asyncio.run(migrate_async(dsn, passwords))


async def migrate_async(dsn: str, passwords: Mapping[str, str]) -> list[str]:
    """`migrate` for callers that have an event loop."""
    unknown = sorted(set(passwords) - set(LOGIN_ROLES))
    if unknown:
        raise ConfigurationError(
            f"no such login role: {', '.join(unknown)}; there are {', '.join(LOGIN_ROLES)}"
        )
    try:
        connection = await asyncpg.connect(dsn, command_timeout=STATEMENT_TIMEOUT_S)
    except (OSError, asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError) as error:
        raise TransientError(f"PostgreSQL does not answer: {error}; is DATABASE_URL right?") from error
    except asyncpg.PostgresError as error:
        raise ConfigurationError(f"PostgreSQL refused the sign-in: {error}") from error
    try:
        await connection.execute(
            f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'; SET statement_timeout = '{STATEMENT_TIMEOUT_S}s'"
        )
        await connection.execute("SELECT pg_advisory_lock($1)", _ADVISORY_LOCK)
        await _make_roles(connection, passwords)
        return await _apply_missing(connection)
    except asyncpg.PostgresError as error:
        raise FatalError(f"migration failed and was rolled back: {error}") from error
    finally:
        await connection.close()


async def _make_roles(connection: asyncpg.Connection, passwords: Mapping[str, str]) -> None:
    statements = [(HERE / "roles.sql").read_text()]
    for role, password in passwords.items():
        quoted = await connection.fetchval("SELECT quote_literal($1)", scram_verifier(password))
        statements.append(f"ALTER ROLE {role} LOGIN PASSWORD {quoted}")
    for statement in statements:
        await _repeat_lost_races(connection, statement)


async def _repeat_lost_races(connection: asyncpg.Connection, statement: str, tries: int = 20) -> None:
    """Roles are shared by all databases of a server, the advisory lock is not: another migration may come between."""
    for left in range(tries, 0, -1):
        try:
            await connection.execute(statement)
        except asyncpg.PostgresError as error:
            if error.sqlstate not in _LOST_RACES or left == 1:
                raise
            await asyncio.sleep(0.05)
        else:
            return


async def _apply_missing(connection: asyncpg.Connection) -> list[str]:
    recorded: dict[int, str] = {}
    if await connection.fetchval("SELECT to_regclass('audit.migration') IS NOT NULL"):
        rows = await connection.fetch("SELECT number, checksum FROM audit.migration")
        recorded = {row["number"]: row["checksum"] for row in rows}
    applied = []
    for migration in migrations():
        if migration.number in recorded:
            if recorded[migration.number] != migration.checksum:
                raise FatalError(
                    f"{migration.name}.sql was changed after this database took it: restore the file, add a new one"
                )
            continue
        async with connection.transaction():
            await connection.execute(migration.sql)
            await connection.execute(
                "INSERT INTO audit.migration (number, name, checksum) VALUES ($1, $2, $3)",
                migration.number,
                migration.name,
                migration.checksum,
            )
        applied.append(migration.name)
    return applied


def scram_verifier(password: str) -> str:
    """What PostgreSQL keeps of a password (SCRAM-SHA-256), so that the password itself is in no statement and no
    server log. For ASCII passwords, as we generate them; others are left to the server."""
    if not password.isascii():
        return password
    salt = os.urandom(16)
    salted = pbkdf2_hmac("sha256", password.encode(), salt, _SCRAM_ROUNDS)
    stored = sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    keys = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${_SCRAM_ROUNDS}:{keys[0]}${keys[1]}:{keys[2]}"


def main() -> int:
    """The exit status."""
    try:
        configure_logging(read_settings(LogSettings), "migrate")
        applied = migrate(read_settings(PostgresSettings).dsn, read_settings(MigrateSettings).passwords())
    except ConfigurationError as error:
        log.critical("settings_wrong", error=str(error))
        return 2
    except (TransientError, FatalError) as error:
        log.critical("migration_failed", error=str(error))
        return 1
    log.info("database_migrated", applied=applied)
    return 0


if __name__ == "__main__":
    sys.exit(main())
