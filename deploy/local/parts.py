"""Broker and database of the local stack: started here, or given by the environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

import asyncpg

from deploy.local import processes
from deploy.local.artifacts import kafka_jars
from deploy.local.errors import StackError
from deploy.local.home import Home, fresh_log
from deploy.local.interrupts import shielded
from deploy.local.java import java
from deploy.local.kafka import Broker
from deploy.local.ports import Ports
from deploy.local.postgres import Database, execute, run_async
from deploy.local.postgres_programs import find_programs
from deploy.local.secrets import read_secret, write_secret
from deploy.local.start_cache import start_cache
from deploy.local.state import DATABASE_NAME, GIVEN_DATABASE, LOGIN_ROLES, SUPERUSER_SECRET
from services.common.errors import ConfigurationError, FatalError
from services.common.settings import PostgresSettings, read_settings

KAFKA_PORT = 9092
POSTGRES_PORT = 5432
Say = Callable[[str], None]


def given(variables: Mapping[str, str], *names: str) -> bool:
    """Whether one of the variables is set, also as NAME_FILE."""
    return any(variables.get(name) or variables.get(f"{name}_FILE") for name in names)


def start_broker(
    home: Home, ports: Ports, variables: Mapping[str, str], say: Say
) -> tuple[Broker, processes.Handle]:
    """Starts Kafka; it is not ready yet."""
    program, jars = java(variables), kafka_jars(say, variables)
    broker = Broker(
        home.kafka,
        ports.take(KAFKA_PORT, "Kafka"),
        ports.take(KAFKA_PORT + 1, "Kafka's controller"),
        program,
        jars,
        cache=start_cache(program, jars, variables),
    )
    fresh_log(broker.log)
    with shielded():
        handle = broker.start()
        processes.write_handle(home.pid_file("kafka"), handle)
    say("starting Kafka")
    return broker, handle


def start_database(home: Home, ports: Ports, variables: Mapping[str, str], say: Say) -> int:
    """Starts PostgreSQL and migrates its database; returns the port."""
    server = Database(
        home.postgres,
        ports.take(POSTGRES_PORT, "PostgreSQL"),
        find_programs(variables),
        read_secret(home.secrets, SUPERUSER_SECRET),
    )
    fresh_log(server.log)
    with shielded():
        handle = server.start()
        processes.write_handle(home.pid_file("postgres"), handle)
    server.wait_ready(handle)
    say(f"PostgreSQL {server.programs.version} is ready on 127.0.0.1:{server.port}")
    with suppress(asyncpg.DuplicateDatabaseError):
        execute(server.dsn(), f"CREATE DATABASE {DATABASE_NAME}")
    applied = migrate_database(
        server.dsn(DATABASE_NAME), {role: read_secret(home.secrets, role) for role in LOGIN_ROLES}
    )
    if applied:
        say(f"migrated the database: {', '.join(applied)}")
    return server.port


def use_given_database(home: Home, variables: Mapping[str, str], say: Say) -> None:
    """Takes the database that the environment names; migrates it where its user may."""
    dsn = read_settings(PostgresSettings, variables).dsn
    write_secret(home.secrets / GIVEN_DATABASE, dsn)
    try:
        migrate_database(dsn, {})
    except ConfigurationError:
        raise  # it does not let us in
    except FatalError as error:
        say(
            f"the given database is used as it is: {error}. An administrator brings it up to date: `piperoll migrate`"
        )


def migrate_database(dsn: str, passwords: Mapping[str, str]) -> list[str]:
    """Runs the writer's migrations; returns the names of those applied."""
    try:
        from services.writer.migrate import migrate_async  # noqa: PLC0415 - only here is it needed
    except ImportError as error:
        raise StackError(f"the writer's migrations cannot be loaded: {error}; run `make setup`") from error
    return run_async(migrate_async(dsn, passwords))
