"""`piperoll demo` as a newcomer runs it: it ends by itself with everything right, and Ctrl-C leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.xdist_group("stack")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(open_folder, request):
    """A folder of its own, and at the end no process that works in it."""
    folder = open_folder / "".join(letter for letter in request.node.name if letter.isalnum())[:40]
    folder.mkdir()
    yield folder
    assert not working_in(folder)


def working_in(folder):
    """Processes that name the folder in their command line or environment."""
    return [
        process.info["cmdline"] for process in psutil.process_iter(["cmdline"]) if names(process, str(folder))
    ]


def names(process, folder):
    try:
        said = [*process.cmdline(), *process.environ().values()]
    except psutil.Error:
        return False
    return any(folder in text for text in said)


def start(home, *arguments):
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PIPEROLL_")}
    return subprocess.Popen(
        [sys.executable, "-m", "services.cli", "demo", *arguments],
        env=environment | {"PIPEROLL_HOME": str(home), "COLUMNS": "100"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_the_demo_ends_by_itself_with_every_event_recorded_once_and_every_chain_verified(home):
    demo = start(home, "--exit", "--events", "2000")
    said, _ = demo.communicate(timeout=240)
    assert demo.returncode == 0, said
    assert "every event recorded exactly once, every chain verified" in said
    assert "0 lost, 0 doubled, 0 mistaken" in said
    assert "POST /audit → 200" in said
    assert "mass export at night" in said
    report = next(line.split()[1] for line in said.splitlines() if line.startswith("  report"))
    assert Path(report).is_file()


@pytest.mark.parametrize("seconds", [0, 1, 4, 12], ids=["at once", "starting", "half-up", "later"])
def test_ctrl_c_leaves_no_process_behind(home, seconds):
    demo = start(home, "--events", "2000")
    while "Larkfield" not in demo.stdout.readline():
        assert demo.poll() is None
    time.sleep(seconds)
    os.killpg(demo.pid, signal.SIGINT)
    said, _ = demo.communicate(timeout=90)
    assert demo.returncode in (0, 130), said
    assert "Traceback" not in said
