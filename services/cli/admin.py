"""`piperoll topics` and `piperoll migrate`."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from deploy.local.home import find_home
from deploy.local.parts import migrate_database
from deploy.local.secrets import read_secret
from deploy.local.state import LOGIN_ROLES, SUPERUSER_SECRET, load_state
from schemas.topics import Topics
from services.cli.target import errors_told, say, target_variables
from services.common.errors import ConfigurationError, TransientError
from services.common.kafka import admin_client, create_topics
from services.common.settings import KafkaSettings, PostgresSettings, environment, read_settings
from services.writer.settings import MigrateSettings

app = typer.Typer()
topics = typer.Typer(help="Create, list and grow the topics.", no_args_is_help=True)
app.add_typer(topics, name="topics")
AsJson = Annotated[bool, typer.Option("--json", help="As one JSON object.")]
_GROW_SECONDS = 30.0


@topics.command("create")
def create(as_json: AsJson = False) -> None:
    """Create the topics that are missing."""
    with errors_told():
        created = create_topics(read_settings(KafkaSettings, target_variables()))
    if as_json:
        print(json.dumps({"created": created}))
    else:
        print("\n".join(created) or "all topics are there")


@topics.command("list")
def list_topics(as_json: AsJson = False) -> None:
    """List the topics with their number of partitions. Exit status 1 where one is missing."""
    with errors_told():
        settings = read_settings(KafkaSettings, target_variables())
        admin = admin_client(settings, "piperoll-topics")
        try:
            found = partition_counts(admin)
        finally:
            admin.close()
    counts = {topic.name: found.get(topic.name) for topic in settings.topics.layout(settings.event_limit)}
    if as_json:
        print(json.dumps(counts, indent=1))
    else:
        for name, count in counts.items():
            print(f"{name:<24} {'missing' if count is None else count}")
    if None in counts.values():
        raise typer.Exit(1)


@topics.command("grow")
def grow(
    partitions: Annotated[int, typer.Argument(min=1, max=1000, help="the new number of partitions")],
) -> None:
    """Give the topics of events more partitions: what follows the events first, the events last.

    Old chains go on, new partitions begin new ones. Interrupted half-way: run it again.
    """
    with errors_told():
        settings = read_settings(KafkaSettings, target_variables())
        admin = admin_client(settings, "piperoll-topics")
        try:
            grow_topics(admin, settings.topics, partitions)
        except KafkaError as error:
            raise TransientError(f"the topics did not grow to {partitions}: {error}; run it again") from error
        finally:
            admin.close()


def grow_topics(admin: KafkaAdminClient, names: Topics, partitions: int) -> None:
    """Grows one topic after the other. Raises ConfigurationError where that would shrink one, or it is missing."""
    counts = partition_counts(admin)
    order = growing_order(names, counts)
    for name in order:
        if name not in counts:
            raise ConfigurationError(f"topic {name} does not exist: `piperoll topics create` makes it")
        if counts[name] > partitions:
            raise ConfigurationError(
                f"topic {name} has {counts[name]} partitions, and Kafka cannot take any away"
            )
    for name in order:
        if counts[name] < partitions:
            admin.create_partitions({name: partitions})
            _wait_grown(admin, name, partitions)
        say(f"{name}: {partitions} partitions")


def growing_order(names: Topics, existing: Mapping[str, int]) -> list[str]:
    """The events come last: a partition of them without its like downstream would stop the enricher."""
    prefix = names.group("enricher")
    changelogs = sorted(n for n in existing if n.startswith(f"{prefix}-") and n.endswith("-changelog"))
    return [names.enriched, names.annotations, names.dead_letters, *changelogs, names.events]


def partition_counts(admin: KafkaAdminClient) -> dict[str, int]:
    """Number of partitions of every topic of the broker."""
    described: list[dict[str, Any]] = admin.describe_topics()
    return {topic["name"]: len(topic["partitions"]) for topic in described}


def _wait_grown(admin: KafkaAdminClient, name: str, partitions: int) -> None:
    deadline = time.monotonic() + _GROW_SECONDS
    while partition_counts(admin).get(name, 0) < partitions:
        if time.monotonic() > deadline:
            raise TransientError(f"topic {name} has not grown within {_GROW_SECONDS:.0f} s; run it again")
        time.sleep(0.1)


@app.command()
def migrate(as_json: AsJson = False) -> None:
    """Bring the database to the present schema.

    DATABASE_URL names it and a user that may create roles; without it, it is the local stack's.
    """
    with errors_told():
        applied = migrate_database(*_migration_target())
    if as_json:
        print(json.dumps({"applied": applied}))
    else:
        print("\n".join(applied) or "the database is up to date")


def _migration_target() -> tuple[str, dict[str, str]]:
    """The address to migrate, and the roles' passwords."""
    variables = environment()
    home = find_home(variables)
    state = load_state(home)
    named = any(variables.get(name) for name in ("DATABASE_URL", "DATABASE_URL_FILE", "PG_HOST"))
    if named or state is None:
        passwords = read_settings(MigrateSettings, variables).passwords()
        return read_settings(PostgresSettings, variables).dsn, passwords
    own = (
        {} if state.database_port is None else {role: read_secret(home.secrets, role) for role in LOGIN_ROLES}
    )
    return state.dsn(home, SUPERUSER_SECRET), own
