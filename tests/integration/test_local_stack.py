"""`up` and `down` with a real broker, a real database and a stub for the services."""

import os
import signal
import subprocess
import sys
import time

import asyncpg
import httpx
import psutil
import pytest
from kafka import KafkaConsumer, KafkaProducer

from deploy.local import processes
from deploy.local.errors import StackError
from deploy.local.home import Home
from deploy.local.ports import is_free
from deploy.local.services import Service
from deploy.local.stack import down, up
from deploy.local.state import load_services, load_state
from tests.service_process import ROOT

pytestmark = pytest.mark.xdist_group("stack")  # they look for free ports from the same numbers on
STUB = Service("stub", "stub_service", (), 8085, role="piperoll_writer")
GIVEN = ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", "PG_HOST")


class Lines(list):
    """Progress, as it was said."""

    def __call__(self, line):
        self.append(line)

    def __contains__(self, part):
        return any(part in line for line in self)


@pytest.fixture
def said():
    return Lines()


@pytest.fixture
def home(open_folder, monkeypatch, request):
    folder = open_folder / f"home-{request.node.name}"
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    for name in GIVEN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TOPIC_PREFIX", "stacktest")  # others on this machine may write to the default topics
    home = Home(folder)
    yield home
    down(home, lambda line: None)
    assert not left_behind(home)


def left_behind(home):
    """Every process that has to do with the folder, looked for by its command line."""
    return [
        process.info
        for process in psutil.process_iter(["pid", "cmdline"])
        if any(str(home.folder) in part for part in process.info["cmdline"] or ())
    ]


def handles(home):
    parts = [processes.read_handle(home.pid_file(part)) for part in ("kafka", "postgres", "supervisor")]
    return [*parts, *(service.handle for service in load_services(home).values())]


@pytest.fixture
def given(broker, database):
    """An environment that names broker and database: then only the services are started."""
    return dict(os.environ) | {
        "KAFKA_BOOTSTRAP_SERVERS": broker,
        "DATABASE_URL": database.admin_dsn,
        "TOPIC_PREFIX": "given",
    }


def wait_for(condition, timeout=15):
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)
    return found


async def test_up_starts_everything_and_down_leaves_no_process_behind(home, said):
    state = up(home, said, services=[STUB])
    running = handles(home)
    assert len(running) == 4
    assert all(handle.alive for handle in running)
    for role in ("postgres", "piperoll_writer", "piperoll_reporter"):
        connection = await asyncpg.connect(state.dsn(home, role))
        assert await connection.fetchval("SELECT current_user") == role
        await connection.close()
    services_get_a_password_file_and_no_password(home, state)
    again = Lines()
    assert up(home, again, services=[STUB]) == state
    assert again == ["already up; settings given now count after `piperoll down` and `piperoll up`"]
    assert down(home, said) == ["services", "Kafka", "PostgreSQL"]
    assert not any(handle.alive for handle in running)
    assert load_state(home) is None
    assert down(home, said) == []


def services_get_a_password_file_and_no_password(home, state):
    answer = httpx.get(f"{state.url('stub')}/", trust_env=False).text
    assert f"PG_USER=piperoll_writer\nPG_PASSWORD_FILE={home.secrets}/piperoll_writer\n" in answer
    password = (home.secrets / "piperoll_writer").read_text()
    assert (home.secrets / "piperoll_writer").stat().st_mode & 0o777 == 0o600
    assert home.secrets.stat().st_mode & 0o777 == 0o700
    for process in left_behind(home):
        assert password not in " ".join(process["cmdline"])
    for file in [home.state, home.plan, *home.log("x").parent.iterdir()]:
        assert password not in file.read_text()


async def test_after_a_crash_up_recovers_and_data_is_still_there(home, said):
    state = up(home, said, services=[STUB])
    connection = await asyncpg.connect(state.dsn(home, "postgres"))
    await connection.execute("CREATE TABLE public.kept AS SELECT 42 AS answer")
    await connection.close()
    producer = KafkaProducer(bootstrap_servers=state.bootstrap_servers)
    producer.send("stacktest.events", b"kept").get(timeout=10)
    producer.close()
    crashed = handles(home)
    for handle in crashed:
        handle.process().kill()
    wait_for(lambda: not any(handle.alive for handle in crashed))
    assert load_state(home) is None

    state = up(home, said, services=[STUB])
    connection = await asyncpg.connect(state.dsn(home, "postgres"))
    assert await connection.fetchval("SELECT answer FROM public.kept") == 42
    await connection.close()
    consumer = KafkaConsumer(
        "stacktest.events", bootstrap_servers=state.bootstrap_servers, auto_offset_reset="earliest"
    )
    assert next(consumer).value == b"kept"
    consumer.close()


def test_orphans_of_a_killed_supervisor_are_ended_and_started_anew(home, said, given):
    up(home, said, given, services=[STUB])
    orphan = load_services(home)["stub"].handle
    supervisor = processes.read_handle(home.pid_file("supervisor"))
    supervisor.process().kill()
    wait_for(lambda: not supervisor.alive)
    up(home, said, given, services=[STUB])
    assert "ended stub" in said
    assert not orphan.alive
    assert load_services(home)["stub"].handle.alive


def test_a_pid_file_that_names_a_stranger_ends_nobody(home, said):
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        for part in ("kafka", "postgres", "supervisor"):
            processes.write_handle(home.pid_file(part), processes.Handle(stranger.pid, "another boot:1"))
        assert down(home, said) == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_service_that_dies_at_start_is_named_with_its_log_and_nothing_is_left(home, said, given):
    with pytest.raises(StackError, match=r"(?s)broken ended with status 3.*the reason of its death"):
        up(home, said, given, services=[STUB, Service("broken", "stub_service", ("dies",), 8086)])
    assert not left_behind(home)


def test_a_service_that_dies_later_is_started_again(home, said, given):
    state = up(home, said, given, services=[STUB])
    first = load_services(home)["stub"].handle
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"{state.url('stub')}/die", trust_env=False)
    wait_for(
        lambda: load_services(home)["stub"].restarts == 1 and load_services(home)["stub"].state == "running"
    )
    assert load_services(home)["stub"].handle != first
    wait_for(lambda: not is_free(state.ports["stub"]))


@pytest.mark.parametrize(
    ("after", "number"),
    [("starting Kafka", signal.SIGINT), ("topics", signal.SIGTERM)],
    ids=["early", "late"],
)
def test_ctrl_c_while_it_starts_leaves_no_process_behind(home, after, number):
    starting = subprocess.Popen(
        [sys.executable, "-m", "tests.stack_up"],
        cwd=ROOT,
        env=os.environ | {"PIPEROLL_HOME": str(home.folder)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with starting:
        for line in starting.stdout:
            if after in line:
                starting.send_signal(number)
                break
        rest = starting.stdout.read()
    assert starting.returncode == 130, rest
    assert not left_behind(home)


def test_broker_and_database_that_are_given_are_used_and_stay(home, said, broker, database, given):
    state = up(home, said, given, services=[STUB])
    answer = httpx.get(f"{state.url('stub')}/", trust_env=False).text
    assert f"KAFKA_BOOTSTRAP_SERVERS={broker}" in answer
    assert f"DATABASE_URL_FILE={home.secrets}/database-url" in answer
    assert state.addresses(home)["DATABASE_URL"] == database.admin_dsn
    assert database.admin_dsn not in home.state.read_text()
    assert not home.pid_file("kafka").exists()
    assert not home.pid_file("postgres").exists()
    assert down(home, said) == ["services"]
    producer = KafkaProducer(bootstrap_servers=broker)  # it is still there
    producer.close()
