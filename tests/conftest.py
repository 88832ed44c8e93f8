"""Real parts for the tests: one broker and one PostgreSQL for each xdist worker, started at first use.

REQUIRE_INFRA=1 turns every skip into a failure, but for "not run: no data", which is counted apart.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import settings as hypothesis_settings
from kafka.net.inet import KafkaNetSocket

from deploy.local import processes
from deploy.local.ports import free_port
from deploy.local.postgres import Database, execute, run_async, stop_database
from deploy.local.postgres_programs import find_programs, system_programs
from services.common.kafka import admin_client, create_topics
from services.common.settings import KafkaSettings
from tests.hashing_ways import each_way_to_hash
from tests.new_broker import new_broker
from tests.nursery import close_nursery
from tests.service_process import ROOT, ServiceProcess

__all__ = ["each_way_to_hash"]

# No test is timed: a loaded machine is not a fault.
hypothesis_settings.register_profile("untimed", deadline=None)
hypothesis_settings.load_profile("untimed")


class _SocketOfKafka(socket.socket):
    """Closes unheard: kafka-python 3.0 puts off closing a transport that has bytes to send, and its loop may end before.

    Such a socket is found by the garbage collector, in whichever test runs then; everybody else's stays an error.
    """

    def __del__(self) -> None:
        self.close()


KafkaNetSocket.socket = staticmethod(_SocketOfKafka)

NO_DATA = "not run: no data"
ROLES = ("piperoll_writer", "piperoll_sealer", "piperoll_reporter", "piperoll_operator")
PASSWORDS = {role: f"{role}-secret" for role in ROLES}
_TEMPLATE = "piperoll_template"


@pytest.fixture(scope="session")
def reaper() -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """A temporary folder, and the process that removes it when this run ends, however it ends."""
    folder = Path(tempfile.mkdtemp(prefix="piperoll-test-"))
    command = [sys.executable, "-m", "tests.reaper", str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True)
    with process:  # closes its input, and waits for it
        yield folder, process


@pytest.fixture(scope="session", autouse=True)
def _nursery() -> Iterator[None]:
    """Services are forked from one process, started at first use: it ends with the run."""
    yield
    close_nursery()


@pytest.fixture(scope="session")
def open_folder(reaper: tuple[Path, subprocess.Popen[str]]) -> Path:
    """A temporary folder that another user can enter, since PostgreSQL does not run as root."""
    folder, _ = reaper
    folder.chmod(0o711)
    return folder


@pytest.fixture(scope="session")
def guard(reaper: tuple[Path, subprocess.Popen[str]]) -> Callable[[processes.Handle], None]:
    """Takes handles of processes that must not outlive this run, even where it is killed."""
    _, process = reaper

    def take(handle: processes.Handle) -> None:
        process.stdin.write(json.dumps(asdict(handle)) + "\n")
        process.stdin.flush()

    return take


@pytest.fixture(scope="session")
def broker(open_folder: Path, guard: Callable[[processes.Handle], None]) -> Iterator[str]:
    """The address of a real broker."""
    kafka = new_broker(open_folder / "kafka")
    handle = kafka.start()
    guard(handle)
    try:
        kafka.wait_ready(handle)
        yield kafka.address
    finally:
        processes.stop(handle, grace=10)


@pytest.fixture
def kafka(broker: str, request: pytest.FixtureRequest) -> Iterator[KafkaSettings]:
    """Settings with a topic prefix of its own, and the topics made. Parametrise indirectly with a dict to change
    fields of the settings: `@pytest.mark.parametrize("kafka", [{"partitions": 1}], indirect=True)`."""
    changes = getattr(request, "param", {})
    fields = {
        "bootstrap_servers": broker,
        "topic_prefix": f"t{uuid4().hex[:10]}",
        "partitions": 3,
        "session_timeout_ms": 3000,
    }
    settings = KafkaSettings(**(fields | changes))
    create_topics(settings)
    yield settings
    admin = admin_client(settings, "tests")
    try:
        admin.delete_topics([name for name in admin.list_topics() if settings.topic_prefix in name])
    finally:
        admin.close()


@pytest.fixture(scope="session")
def postgres_server(
    open_folder: Path, guard: Callable[[processes.Handle], None], request: pytest.FixtureRequest
) -> Iterator[str]:
    """The superuser's address of a real PostgreSQL. Mark a test `every_postgres` to have it run on
    the machine's own too, where there is one."""
    choice = getattr(request, "param", os.environ.get("PIPEROLL_POSTGRES", "wheel"))
    programs = find_programs({**os.environ, "PIPEROLL_POSTGRES": choice})
    folder = open_folder / f"postgres-{choice}-{uuid4().hex[:6]}"  # pytest may start one more than once
    server = Database(folder, free_port(), programs, "super-secret", fast=True)
    handle = server.start()
    guard(handle)
    try:
        server.wait_ready(handle)
        yield server.dsn()
    finally:
        stop_database(handle, grace=10)


@dataclass(frozen=True)
class TestDatabase:
    """A migrated database; each address holds the password of its role."""

    __test__ = False

    name: str
    admin_dsn: str
    writer_dsn: str
    reporter_dsn: str
    sealer_dsn: str
    operator_dsn: str


def _migrate(dsn: str) -> None:
    from services.writer.migrate import migrate_async  # noqa: PLC0415 - tests without a database need none of it

    run_async(migrate_async(dsn, PASSWORDS))


@pytest.fixture(scope="session")
def database_template(postgres_server: str) -> str:
    """The name of a database that is migrated once and copied for each test."""
    execute(postgres_server, f"CREATE DATABASE {_TEMPLATE}")
    _migrate(_address(postgres_server, _TEMPLATE))
    return _TEMPLATE


def _address(server: str, database: str, role: str | None = None) -> str:
    """The address of a database on `server`, for the superuser or a role."""
    credentials, _, rest = server.removeprefix("postgresql://").rpartition("@")
    if role is not None:
        credentials = f"{role}:{PASSWORDS[role]}"
    return f"postgresql://{credentials}@{rest.partition('/')[0]}/{database}"


@pytest.fixture
def database(postgres_server: str, database_template: str) -> Iterator[TestDatabase]:
    """A migrated, empty database of its own."""
    name = f"t{uuid4().hex[:10]}"
    execute(postgres_server, f"CREATE DATABASE {name} TEMPLATE {database_template}")
    yield TestDatabase(
        name,
        _address(postgres_server, name),
        _address(postgres_server, name, "piperoll_writer"),
        _address(postgres_server, name, "piperoll_reporter"),
        _address(postgres_server, name, "piperoll_sealer"),
        _address(postgres_server, name, "piperoll_operator"),
    )
    execute(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def start_service(
    request: pytest.FixtureRequest, tmp_path: Path, guard: Callable[[processes.Handle], None]
) -> Iterator[Callable[..., ServiceProcess]]:
    """`start_service(name, *arguments, **variables)`: a service with the settings of this test's broker and database.
    A database is made only for those that need one. All end with the test, whatever state they are in."""
    started: list[ServiceProcess] = []

    def start(name: str, *arguments: str, **variables: str) -> ServiceProcess:
        port = str(free_port())
        settings = {"HEALTH_PORT": port, "INGEST_PORT": port} | _kafka_variables(
            request.getfixturevalue("kafka")
        )
        role = {"writer": "writer_dsn", "reporter": "reporter_dsn"}.get(name)
        if role is not None and "DATABASE_URL" not in variables:
            settings["DATABASE_URL"] = getattr(request.getfixturevalue("database"), role)
        log = tmp_path / f"{name}-{len(started)}.log"
        started.append(ServiceProcess(name, arguments, settings | variables, log))
        guard(started[-1].handle)
        return started[-1]

    yield start
    for service in started:
        service.end()


def _kafka_variables(settings: KafkaSettings) -> dict[str, str]:
    variables = settings.model_dump(by_alias=True, exclude_unset=True)
    return {name: str(value) for name, value in variables.items()}


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real events that lies beside the project, where there is one."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(NO_DATA)
    return folder


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "every_postgres: also on the machine's own PostgreSQL, where there is one (14 or newer)"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("every_postgres"):
        choices = ["wheel"] if system_programs() is None else ["wheel", "system"]
        metafunc.parametrize("postgres_server", choices, indirect=True, scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What uses the real events is marked `data`."""
    for item in items:
        if "shared_data" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.data)


def _must_not_skip(report: pytest.TestReport | pytest.CollectReport) -> bool:
    return (
        report.skipped
        and os.environ.get("REQUIRE_INFRA") == "1"
        and not hasattr(report, "wasxfail")
        and NO_DATA not in str(report.longrepr)
    )


def _fail_instead(report: pytest.TestReport | pytest.CollectReport) -> None:
    report.outcome = "failed"
    report.longrepr = f"REQUIRE_INFRA=1, but this was skipped: {report.longrepr}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if _must_not_skip(report):
        _fail_instead(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    report = yield
    if _must_not_skip(report):
        _fail_instead(report)
    return report


def pytest_terminal_summary(terminalreporter) -> None:
    """Tests without data are counted apart from other skips."""
    without = [report for report in terminalreporter.getreports("skipped") if NO_DATA in str(report.longrepr)]
    if without:
        terminalreporter.write_line(f"{len(without)} {NO_DATA} (../shared/data is absent)")
