"""The steps before the services start, as compose runs them: topics made, database migrated, secrets made once."""

import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from deploy.local.postgres import execute
from services.common.kafka import admin_client
from tests import query

ROOT = Path(__file__).parents[2]


def run(module, *arguments, **variables):
    kept = {
        name: text for name, text in os.environ.items() if not name.startswith(("PG_", "KAFKA_", "DATABASE_"))
    }
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=kept | variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


def test_topics_are_made_once_and_a_second_run_changes_nothing(broker, kafka):
    prefix = f"t{uuid4().hex[:10]}"
    variables = {"KAFKA_BOOTSTRAP_SERVERS": broker, "TOPIC_PREFIX": prefix, "TOPIC_PARTITIONS": "2"}
    first = run("services.common.topics", **variables)
    assert first.returncode == 0, first.stderr
    assert f"{prefix}.events" in first.stderr
    again = run("services.common.topics", **variables)
    assert again.returncode == 0
    assert f"{prefix}.events" not in again.stderr
    admin = admin_client(kafka, "tests")
    admin.delete_topics([name for name in admin.list_topics() if prefix in name])
    admin.close()


@pytest.fixture
def empty_database(postgres_server):
    """Host, port, superuser's password and name of a database that nobody has migrated."""
    name = f"t{uuid4().hex[:10]}"
    execute(postgres_server, f"CREATE DATABASE {name}")
    credentials, _, rest = postgres_server.removeprefix("postgresql://").rpartition("@")
    user, _, password = credentials.partition(":")
    host, _, port = rest.partition("/")[0].partition(":")
    yield {"PG_HOST": host, "PG_PORT": port, "PG_USER": user, "PG_DB": name}, password
    execute(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


def test_the_database_is_migrated_with_passwords_from_files(empty_database, tmp_path):
    variables, password = empty_database
    admin, reporter = tmp_path / "postgres", tmp_path / "piperoll_reporter"
    admin.write_text(password + "\n")
    made = run("deploy.first_secrets", str(tmp_path / "unused" / "x"), str(reporter))
    assert made.returncode == 0
    assert reporter.stat().st_mode & 0o777 == 0o600
    secret = reporter.read_text()
    assert len(secret) >= 24
    variables |= {"PG_PASSWORD_FILE": str(admin)}
    # the role is shared with other tests of this server, which expect their own password: it keeps that one
    first = run("services.writer.migrate", **variables)
    assert first.returncode == 0, first.stderr
    assert "0001_" in first.stderr
    again = run("services.writer.migrate", **variables)
    assert '"applied": []' in again.stderr
    dsn = f"postgresql://{variables['PG_USER']}:{password}@{variables['PG_HOST']}:{variables['PG_PORT']}/{variables['PG_DB']}"
    assert query.rows(dsn, "SELECT count(*) FROM audit_events") == [(0,)]
    run("deploy.first_secrets", str(reporter))
    assert reporter.read_text() == secret


def test_a_wrong_password_is_status_2_and_is_not_shown(empty_database, tmp_path):
    variables, _ = empty_database
    result = run("services.writer.migrate", **variables, PG_PASSWORD="not-the-one")
    assert result.returncode == 2
    assert "not-the-one" not in result.stdout + result.stderr


def test_secrets_that_cannot_be_written_are_told(tmp_path):
    (tmp_path / "file").write_text("")
    result = run("deploy.first_secrets", str(tmp_path / "file" / "secret"))
    assert result.returncode == 1
    assert "writable" in result.stderr
