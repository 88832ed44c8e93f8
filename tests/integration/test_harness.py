"""The tests' own rules: what a skip counts as, and that a killed run leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys

from deploy.local import processes
from tests.service_process import ROOT, ServiceProcess

SKIPS = """
import pytest

def test_part_is_missing():
    pytest.skip("no broker here")

def test_data_is_missing():
    pytest.skip("not run: no data")

@pytest.mark.xfail
def test_known():
    assert False
"""


def run_pytest(folder, text, **variables):
    (folder / "test_it.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p tests.conftest -p no:cacheprovider\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-c", str(folder / "pytest.ini"), str(folder)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "REQUIRE_INFRA"} | variables,
    )


def test_under_require_infra_a_skip_fails_but_not_one_for_lack_of_data(tmp_path):
    answer = run_pytest(tmp_path, SKIPS, REQUIRE_INFRA="1")
    assert answer.returncode == 1
    assert "1 failed, 1 skipped, 1 xfailed" in answer.stdout
    assert "REQUIRE_INFRA=1, but this was skipped" in answer.stdout
    assert "1 not run: no data" in answer.stdout


def test_without_require_infra_skips_are_skips(tmp_path):
    answer = run_pytest(tmp_path, SKIPS)
    assert answer.returncode == 0
    assert "2 skipped, 1 xfailed" in answer.stdout


def test_under_require_infra_a_module_that_skips_itself_fails(tmp_path):
    answer = run_pytest(tmp_path, "import pytest\npytest.importorskip('no_such_module')", REQUIRE_INFRA="1")
    assert answer.returncode != 0


def test_a_killed_test_run_leaves_neither_process_nor_folder_behind(open_folder):
    folder = open_folder / "reaped"
    folder.mkdir()
    reaper = subprocess.Popen(
        [sys.executable, "-m", "tests.reaper", str(folder)], stdin=subprocess.PIPE, text=True, cwd=ROOT
    )
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    handle = processes.handle_of(sleeper.pid)
    with reaper:
        reaper.stdin.write(json.dumps({"pid": handle.pid, "identity": handle.identity}) + "\n")
    assert sleeper.wait(5) in {-signal.SIGTERM, -signal.SIGKILL}
    assert not folder.exists()


def test_a_forked_service_ends_as_one_that_was_started_by_its_command(tmp_path):
    """In a session of its own, with the reason in its log, and its exit status told."""
    variables = {"HEALTH_PORT": "1", "KAFKA_SECURITY_PROTOCOL": "CARRIER_PIGEON"}
    said = []
    for forked in (True, False):
        service = ServiceProcess("writer", (), variables, tmp_path / f"{forked}.log", forked=forked)
        assert os.getsid(service.pid) == service.pid
        assert service.wait(30) == 2
        assert not service.handle.alive
        said.append([json.loads(line)["error"] for line in service.log().splitlines()])
    assert said[0] == said[1] != []
