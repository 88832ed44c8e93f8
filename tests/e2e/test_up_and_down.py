"""What a newcomer does: `piperoll up`, the curl of the README, a query in plain SQL, `piperoll down`."""

import json
import os
import signal
import subprocess
import sys
import time

import httpx
import psutil
import pytest

from deploy.local import processes
from deploy.local.home import Home
from deploy.local.state import load_services
from tests import query
from tests.service_process import ROOT

pytestmark = pytest.mark.xdist_group("stack")
EVENT = {
    "event_type": "data_export",
    "event_data": {
        "user_id": 42,
        "dataset_id": "ds-99",
        "export_time": "2026-05-01T12:00:00Z",
        "export_reason": "regulator request",
    },
}
GIVEN = ("KAFKA_", "PG_", "DATABASE_", "TOPIC_", "INGEST_", "OPENAI_", "AZURE_", "PIPEROLL_HOME")


@pytest.fixture
def piperoll(open_folder):
    """Runs the command on a home of its own; whatever happens, the home is down at the end."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith(GIVEN)}
    environ["PIPEROLL_HOME"] = str(open_folder / "e2e-home")

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "services.cli", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=environ,
            stdin=subprocess.DEVNULL,
        )

    run.home = Home(open_folder / "e2e-home")
    yield run
    run("down")


def recorded(dsn, event_id):
    """The row of the event, as soon as it is there: type, data, summary."""
    deadline = time.monotonic() + 60
    sql = "SELECT event_type, event_data::text, ai_summary FROM audit_events WHERE event_id = $1"
    while not (rows := query.rows(dsn, sql, event_id)):
        assert time.monotonic() < deadline, f"{event_id} is not in audit_events"
        time.sleep(0.2)
    [row] = rows
    return row


def post(addresses, wait):
    url = f"{addresses['INGEST_URL']}/audit?receipt=1&wait={wait}"
    return httpx.post(url, json=EVENT, timeout=60, trust_env=False)


def test_from_up_to_curl_to_sql_to_down_and_once_more(piperoll):
    started = piperoll("up", "--json")
    assert started.returncode == 0, started.stderr
    addresses = json.loads(started.stdout)
    assert json.loads(piperoll("env", "--json").stdout) == addresses
    for name in ("INGEST", "ENRICHER", "WRITER", "ALERTER", "REPORTER"):
        answer = httpx.get(f"{addresses[f'{name}_HEALTH_URL']}/readyz", trust_env=False)
        assert answer.status_code == 200

    answer = post(addresses, wait=30)
    assert answer.status_code == 200, answer.text
    first = answer.json()
    assert first["status"] == "ok"
    assert first["by"] == "rules"
    event_type, data, summary = recorded(addresses["DATABASE_URL"], first["id"])
    assert event_type == "data_export"
    assert json.loads(data) == EVENT["event_data"]
    assert summary == first["summary"]

    its_proof_is_accepted_offline(piperoll, addresses, first["receipt"])
    a_killed_writer_comes_back(piperoll.home, addresses)
    again = piperoll("up")
    assert again.returncode == 0
    assert again.stderr.startswith("already up")
    handles = all_handles(piperoll.home)
    assert len(handles) == 9
    assert json.loads(piperoll("down", "--json").stdout) == {"ended": ["services", "Kafka", "PostgreSQL"]}
    assert not any(handle.alive for handle in handles)
    assert not left_behind(piperoll.home)

    second = piperoll("up", "--json")
    assert second.returncode == 0, second.stderr
    recorded(json.loads(second.stdout)["DATABASE_URL"], first["id"])


def its_proof_is_accepted_offline(piperoll, addresses, receipt):
    """By command and over HTTP, once the sealer has come to it; under a policy made of the published folder."""
    proof, policy = piperoll.home.folder / "proof", piperoll.home.folder / "policy"
    identifier = receipt["proof"].split("/")[3]
    deadline = time.monotonic() + 60
    while (made := piperoll("prove", identifier, "--out", str(proof))).returncode != 0:
        assert (made.returncode, time.monotonic() < deadline) == (2, True), made.stderr
        time.sleep(0.5)
    [log] = piperoll.home.folder.glob("sealer/published/log.json")
    policy.write_text(f"log {json.loads(log.read_text())['seal']['vkey']}\nquorum none\n")
    program = ROOT / "schemas" / "standalone" / "piperoll_verify.py"
    command = [sys.executable, "-I", program, proof, "--policy", policy, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout)
    assert (found["source_offset"], found["value_sha256"]) == (receipt["offset"], receipt["value_sha256"])
    served = httpx.get(f"{addresses['INGEST_URL']}{receipt['proof']}", trust_env=False)
    assert json.loads(served.content)["leaf"] == json.loads(proof.read_text())["leaf"]


def a_killed_writer_comes_back(home, addresses):
    os.kill(load_services(home)["writer"].handle.pid, signal.SIGKILL)
    recorded(addresses["DATABASE_URL"], post(addresses, wait=0).json()["id"])
    assert load_services(home)["writer"].restarts == 1
    url = f"{addresses['WRITER_HEALTH_URL']}/readyz"
    deadline = time.monotonic() + 60
    while httpx.get(url, trust_env=False).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def all_handles(home):
    parts = [processes.read_handle(home.pid_file(part)) for part in ("kafka", "postgres", "supervisor")]
    return [*parts, *(service.handle for service in load_services(home).values())]


def left_behind(home):
    return [
        process.info
        for process in psutil.process_iter(["pid", "cmdline"])
        if any(str(home.folder) in part for part in process.info["cmdline"] or ())
    ]
