"""Migrations: numbered, applied once, recorded, and the same as schema.sql."""

import asyncio
import re
import subprocess
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from deploy.local.postgres import execute
from deploy.local.postgres_programs import find_programs
from services.common.errors import ConfigurationError, FatalError, TransientError
from services.writer import migrate as module
from services.writer.migrate import LOGIN_ROLES, migrate, migrate_async, migrations, scram_verifier

PASSWORDS = {role: f"{role}-secret" for role in LOGIN_ROLES}
SCHEMA = Path(module.__file__).with_name("schema.sql")


@pytest.fixture
def empty(postgres_server):
    """The address of an empty database."""
    name = f"m{uuid4().hex[:10]}"
    execute(postgres_server, f"CREATE DATABASE {name}")
    yield postgres_server.rpartition("/")[0] + "/" + name
    execute(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


def dump(dsn: str) -> str:
    """The schema in SQL, without what differs from run to run."""
    program = find_programs().folder / "pg_dump"
    found = subprocess.run([program, "--schema-only", dsn], capture_output=True, text=True, check=True)
    return re.sub(r"^(\\(un)?restrict|--).*$", "", found.stdout, flags=re.MULTILINE)


async def test_migrations_and_schema_sql_give_the_same_database(database, empty):
    connection = await asyncpg.connect(empty)
    try:
        async with connection.transaction():
            await connection.execute(SCHEMA.read_text())
    finally:
        await connection.close()
    assert dump(empty) == dump(database.admin_dsn)


async def test_a_second_run_applies_nothing(database):
    assert await migrate_async(database.admin_dsn, PASSWORDS) == []


async def test_each_migration_is_recorded_with_its_checksum(database):
    connection = await asyncpg.connect(database.reporter_dsn)
    rows = await connection.fetch("SELECT number, name, checksum FROM audit.migration ORDER BY number")
    await connection.close()
    assert [tuple(row) for row in rows] == [(m.number, m.name, m.checksum) for m in migrations()]


async def test_a_changed_migration_is_refused(database, tmp_path, monkeypatch):
    for migration in migrations():
        (tmp_path / f"{migration.name}.sql").write_text(migration.sql + "-- changed\n")
    monkeypatch.setattr(module, "migrations", lambda: migrations(tmp_path))
    with pytest.raises(FatalError, match="was changed after"):
        await migrate_async(database.admin_dsn, {})


async def test_a_migration_that_fails_leaves_nothing(empty, tmp_path, monkeypatch):
    (tmp_path / "0001_broken.sql").write_text("CREATE TABLE half (a int); SELECT 1/0;")
    monkeypatch.setattr(module, "migrations", lambda: migrations(tmp_path))
    with pytest.raises(FatalError, match="division by zero"):
        await migrate_async(empty, {})
    connection = await asyncpg.connect(empty)
    assert await connection.fetchval("SELECT to_regclass('half')") is None
    await connection.close()


async def test_several_at_once_apply_each_migration_once(empty):
    done = await asyncio.gather(*(migrate_async(empty, PASSWORDS) for _ in range(4)))
    assert sorted(map(len, done)) == [0, 0, 0, len(list(migrations()))]


async def test_databases_of_one_server_are_migrated_at_once(postgres_server):
    names = [f"m{uuid4().hex[:10]}" for _ in range(3)]
    base = postgres_server.rpartition("/")[0]
    connection = await asyncpg.connect(postgres_server)
    try:
        for name in names:
            await connection.execute(f"CREATE DATABASE {name}")
        done = await asyncio.gather(*(migrate_async(f"{base}/{name}", PASSWORDS) for name in names))
        assert all(done)
        for name in names:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


async def test_a_creator_that_is_no_superuser_can_migrate(postgres_server):
    name = f"m{uuid4().hex[:10]}"
    connection = await asyncpg.connect(postgres_server)
    try:
        await connection.execute(f"CREATE ROLE {name} LOGIN CREATEROLE PASSWORD 'creator'")
        if await connection.fetchval("SELECT current_setting('server_version_num')::int >= 160000"):
            # the roles are there already, made by the superuser for other tests
            for role in ("piperoll_owner", "piperoll_eraser", *LOGIN_ROLES):
                await connection.execute(f"GRANT {role} TO {name} WITH ADMIN OPTION")
        await connection.execute(f"CREATE DATABASE {name} OWNER {name}")
        host = postgres_server.rpartition("@")[2].rpartition("/")[0]
        applied = await migrate_async(f"postgresql://{name}:creator@{host}/{name}", {})
        assert applied == [m.name for m in migrations()]
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")
    finally:
        await connection.close()


async def test_passwords_are_set_and_in_no_statement(database):
    verifier = scram_verifier("secret")
    assert "secret" not in verifier
    for role in LOGIN_ROLES:
        host = database.admin_dsn.rpartition("@")[2]
        connection = await asyncpg.connect(f"postgresql://{role}:{role}-secret@{host}")
        assert await connection.fetchval("SELECT current_user") == role
        await connection.close()


def test_an_unknown_role_is_a_wrong_setting():
    with pytest.raises(ConfigurationError, match="no such login role: piperoll_owner"):
        migrate("postgresql://127.0.0.1:1/x", {"piperoll_owner": "x"})


def test_a_server_that_is_away_may_come_back():
    with pytest.raises(TransientError, match="does not answer"):
        migrate("postgresql://127.0.0.1:1/x", {})


async def test_a_wrong_password_is_a_wrong_setting(database):
    host = database.admin_dsn.rpartition("@")[2]
    with pytest.raises(ConfigurationError, match="refused the sign-in"):
        await migrate_async(f"postgresql://piperoll_writer:wrong@{host}", {})
