"""What the local stack is made of, part by part."""

import fcntl
import gc
import hashlib
import socket
import subprocess
import sys
import threading
from contextlib import closing
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy.local import artifacts, processes
from deploy.local.artifacts import cache_folder, fetch_jars
from deploy.local.errors import StackError
from deploy.local.home import Home, alone, find_home
from deploy.local.java import java
from deploy.local.ports import Ports, free_port
from deploy.local.postgres_programs import find_programs
from deploy.local.secrets import read_secret
from deploy.local.services import wanted_services
from deploy.local.supervisor import Supervised


@pytest.fixture
def ports():
    with closing(Ports(print)) as ports:
        yield ports


def test_a_taken_port_gives_way_to_the_next_one_said_aloud(capsys, ports):
    wanted = free_port()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", wanted))
        holder.listen()
        found = ports.take(wanted, "ingest")
    assert found > wanted
    assert capsys.readouterr().out == f"port {wanted} is taken: ingest uses {found}\n"


def test_two_parts_do_not_get_the_same_port(ports):
    wanted = free_port()
    assert ports.take(wanted, "a") != ports.take(wanted, "b")


def test_two_processes_that_start_at_once_do_not_get_the_same_port(ports):
    taken = ports.take(free_port(), "a")
    program = f"from deploy.local.ports import Ports; print(Ports(lambda line: None).take({taken}, 'b'))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(answer.stdout) != taken


jgo_leaves_sockets = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture
def repository(tmp_path):
    """A Maven repository on the loopback address with two jars; yields its address, its folder and their pins."""
    folder = tmp_path / "repository"
    pins = {}
    for name in ("one", "two"):
        jar = folder / "org" / "example" / name / "1.0" / f"{name}-1.0.jar"
        jar.parent.mkdir(parents=True)
        jar.write_bytes(name.encode())
        pins[f"org.example:{name}:1.0"] = hashlib.sha256(name.encode()).hexdigest()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", folder, pins
    server.shutdown()
    server.server_close()
    thread.join()
    gc.collect()  # the sockets go while their warnings are still let through


@jgo_leaves_sockets
def test_jars_are_fetched_once_and_then_found_without_network(repository, tmp_path):
    address, _, pins = repository
    jars = fetch_jars(pins, tmp_path / "cache", lambda line: None, address)
    assert [jar.read_bytes() for jar in jars] == [b"one", b"two"]
    assert fetch_jars(pins, tmp_path / "cache", pytest.fail, "http://127.0.0.1:1/") == jars


@jgo_leaves_sockets
def test_an_interrupted_fetch_goes_on_where_it_stopped(repository, tmp_path):
    address, folder, pins = repository
    missing = folder / "org" / "example" / "two" / "1.0" / "two-1.0.jar"
    missing.rename(folder / "aside")
    cache = tmp_path / "cache"
    with pytest.raises(StackError, match="cannot fetch org"):
        fetch_jars(pins, cache, lambda line: None, address)
    assert [jar.name for jar in cache.glob("*.jar")] == ["one-1.0.jar"]
    (cache / ".fetch-of-a-killed-process").mkdir()
    (folder / "aside").rename(missing)
    (folder / "org" / "example" / "one" / "1.0" / "one-1.0.jar").unlink()
    fetch_jars(pins, cache, lambda line: None, address)
    assert sorted(jar.name for jar in cache.glob("*.jar")) == ["one-1.0.jar", "two-1.0.jar"]
    assert not list(cache.glob(".fetch-*"))


@jgo_leaves_sockets
def test_a_jar_that_is_not_the_pinned_one_is_refused(repository, tmp_path):
    address, folder, pins = repository
    (folder / "org" / "example" / "one" / "1.0" / "one-1.0.jar").write_bytes(b"changed")
    with pytest.raises(StackError, match="not the pinned file"):
        fetch_jars(pins, tmp_path / "cache", lambda line: None, address)
    assert not (tmp_path / "cache" / "one-1.0.jar").exists()


@jgo_leaves_sockets
def test_the_second_of_two_processes_waits_for_the_first_to_fetch(repository, tmp_path):
    address, _, pins = repository
    said, cache = [], tmp_path / "cache"
    cache.mkdir()
    with (cache / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        second = threading.Thread(target=fetch_jars, args=(pins, cache, said.append, address))
        second.start()
        second.join(0.3)
        assert second.is_alive()
    second.join(10)
    assert said[0] == "another process is fetching Kafka; waiting for it"
    assert len(list(cache.glob("*.jar"))) == 2


def test_without_network_the_error_says_what_to_do(tmp_path):
    with pytest.raises(
        StackError, match=r"(?s)Is this machine online\?.*HTTPS_PROXY.*KAFKA_BOOTSTRAP_SERVERS"
    ):
        fetch_jars({"a:b:1": ""}, tmp_path, lambda line: None, f"http://127.0.0.1:{free_port()}")


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifacts, "_fetch_all", full)
    with pytest.raises(StackError, match=r"no space left.*make room, or set PIPEROLL_CACHE"):
        fetch_jars({"a:b:1": ""}, tmp_path, lambda line: None)


def test_a_pid_that_was_given_to_another_process_is_not_the_same_process(tmp_path):
    handle = processes.start(
        [sys.executable, "-c", "import time; time.sleep(60)"], log=tmp_path / "log", environ={}
    )
    path = tmp_path / "part.pid"
    processes.write_handle(path, handle)
    assert processes.read_handle(path) == handle
    assert handle.alive
    assert not processes.Handle(handle.pid, "other").alive
    assert processes.stop(processes.Handle(handle.pid, "other"), grace=1) is False
    assert handle.alive
    assert processes.stop(handle, grace=5) is False
    assert not handle.alive
    assert processes.exit_status(handle) == -15


def test_what_does_not_heed_sigterm_is_killed_with_its_children(tmp_path):
    program = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    log = tmp_path / "log"
    handle = processes.start([sys.executable, "-c", program], log=log, environ={})
    while not log.read_text().strip():
        pass
    child = processes.handle_of(int(log.read_text()))
    assert processes.stop(handle, grace=0.2) is True
    assert not handle.alive
    assert not child.alive


@pytest.mark.parametrize("text", ["", "12", "{}", '{"pid": "x", "identity": 1}'])
def test_a_pid_file_that_cannot_be_read_names_nobody(tmp_path, text):
    (tmp_path / "x.pid").write_text(text)
    assert processes.read_handle(tmp_path / "x.pid") is None


def test_passwords_are_made_once_and_readable_by_us_only(tmp_path):
    first = read_secret(tmp_path / "secrets", "role")
    assert len(first) >= 32
    assert read_secret(tmp_path / "secrets", "role") == first
    assert (tmp_path / "secrets" / "role").stat().st_mode & 0o777 == 0o600


def test_the_annotator_runs_only_with_an_ai_key():
    def names(variables):
        return [service.name for service in wanted_services(variables)]

    assert "annotator" not in names({})
    assert "annotator" not in names({"OPENAI_API_KEY": ""})
    assert "annotator" in names({"OPENAI_API_KEY": "k"})
    assert "annotator" in names({"AZURE_OPENAI_ENDPOINT": "https://example.org"})
    assert "annotator" in names({"OPENAI_API_KEY_FILE": "/run/secrets/key"})


def test_a_service_is_restarted_after_pauses_that_double(tmp_path):
    service = Supervised("x", [sys.executable, "-c", "raise SystemExit(1)"], {}, tmp_path / "log")
    now, pauses = 0.0, []
    for _ in range(4):
        assert service.step(now)
        processes.wait(service.state.handle, 10)
        assert service.step(now)
        begin = now
        while not service.step(now):
            now += 0.25
        pauses.append(now - begin)
        processes.wait(service.state.handle, 10)
        service.step(now)
        now += 31
    assert pauses[0] == 0.5
    assert pauses == sorted(pauses)


def test_a_service_with_wrong_settings_is_not_restarted(tmp_path):
    service = Supervised("x", [sys.executable, "-c", "raise SystemExit(2)"], {}, tmp_path / "log")
    service.step(0.0)
    processes.wait(service.state.handle, 10)
    assert service.step(1.0)
    assert service.state.state == "failed"
    assert not service.step(1000.0)


@pytest.mark.parametrize("find", [java, find_programs])
def test_an_unknown_choice_of_program_is_refused(find):
    with pytest.raises(StackError, match="use `system`"):
        find({"PIPEROLL_JAVA": "mine", "PIPEROLL_POSTGRES": "mine"})


@pytest.mark.parametrize("find", [java, find_programs])
def test_a_machine_without_the_program_is_told_how_to_go_on(find, monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "glob", lambda *args: [])
    with pytest.raises(StackError, match="unset PIPEROLL_"):
        find({"PIPEROLL_JAVA": "system", "PIPEROLL_POSTGRES": "system", "PATH": str(tmp_path)})


def test_home_and_cache_can_be_moved(tmp_path):
    assert find_home({"PIPEROLL_HOME": str(tmp_path)}).folder == tmp_path.resolve()
    assert cache_folder({"PIPEROLL_CACHE": str(tmp_path)}) == tmp_path
    assert cache_folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "piperoll"


def test_one_up_or_down_at_a_time(tmp_path):
    home, said = Home(tmp_path / "home"), []

    def second():
        with alone(home, said.append):
            said.append("in")

    with alone(home, said.append):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        assert said == ["another `piperoll up` or `down` is at work here; waiting for it"]
    thread.join(10)
    assert said[-1] == "in"


def test_a_program_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(StackError, match="cannot start /no/such/program"):
        processes.start(["/no/such/program"], log=tmp_path / "log", environ={})


def test_the_interrupt_waits_until_a_started_process_has_its_pid_file():
    """A signal within the shield comes out at its end, and a second one does not disturb the clean-up."""
    program = """
import os, signal
from deploy.local.interrupts import interruptible, shielded
with interruptible():
    try:
        with shielded():
            os.kill(os.getpid(), signal.SIGTERM)
            print("still here")
    except KeyboardInterrupt:
        os.kill(os.getpid(), signal.SIGINT)
        print("interrupted after it")
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout == "still here\ninterrupted after it\n"
