"""`piperoll topics` and `piperoll migrate` on a real broker and a real database."""

import json
import os
import subprocess
import sys

import asyncpg


def piperoll(*arguments, **variables):
    return subprocess.run(
        [sys.executable, "-m", "services.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
    )


def test_topics_are_created_listed_and_grown(broker, tmp_path):
    variables = {
        "KAFKA_BOOTSTRAP_SERVERS": broker,
        "TOPIC_PREFIX": "topics-command",
        "TOPIC_PARTITIONS": "2",
        "PIPEROLL_HOME": str(tmp_path),
    }
    assert piperoll("topics", "list", **variables).returncode == 1
    created = piperoll("topics", "create", "--json", **variables)
    assert "topics-command.events" in json.loads(created.stdout)["created"]
    assert json.loads(piperoll("topics", "create", "--json", **variables).stdout) == {"created": []}
    assert piperoll("topics", "grow", "3", **variables).returncode == 0
    counts = json.loads(piperoll("topics", "list", "--json", **variables).stdout)
    grown = ("events", "enriched", "annotations", "dead-letters")
    assert {counts[f"topics-command.{name}"] for name in grown} == {3}
    assert counts["topics-command.system"] == 1
    shrunk = piperoll("topics", "grow", "2", **variables)
    assert shrunk.returncode == 2
    assert "cannot take any away" in shrunk.stderr


async def test_migrate_brings_a_given_database_to_the_schema_and_sets_passwords(postgres_server, tmp_path):
    connection = await asyncpg.connect(postgres_server)
    await connection.execute("CREATE DATABASE migrate_command")
    await connection.close()
    dsn = postgres_server.rpartition("/")[0] + "/migrate_command"
    variables = {"DATABASE_URL": dsn, "PIPEROLL_HOME": str(tmp_path)}
    answer = piperoll("migrate", "--json", **variables, PIPEROLL_REPORTER_PASSWORD="piperoll_reporter-secret")
    assert answer.returncode == 0, answer.stderr
    assert len(json.loads(answer.stdout)["applied"]) >= 3
    assert piperoll("migrate", **variables).stdout == "the database is up to date\n"
    credentials = "piperoll_reporter:piperoll_reporter-secret@"
    reader = await asyncpg.connect(f"postgresql://{credentials}{dsn.rpartition('@')[2]}")
    assert await reader.fetchval("SELECT count(*) FROM audit_events") == 0
    await reader.close()


def test_without_a_database_migrate_could_not_check(tmp_path):
    answer = piperoll("migrate", DATABASE_URL="postgresql://u:p@127.0.0.1:1/d", PIPEROLL_HOME=str(tmp_path))
    assert answer.returncode == 2
    assert "DATABASE_URL" in answer.stderr
