"""Starts services by fork from a process that has imported what they import, which is most of what a start costs.

`start_module` here starts `python -m tests.nursery` at first use and gives it orders, one JSON object a line: it answers
each with the pid of a new process or with the exit status of an earlier one. A service that is born there has a session,
an environment, arguments and a log of its own, and its `__main__` is run anew, as by `python -m`. It is not for what
measures a service: the tests of the local stack and the benches start theirs from nothing.
"""

from __future__ import annotations

import json
import os
import random
import runpy
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

from deploy.local import processes

_ROOT = Path(__file__).parent.parent
_OTHERS = {
    "annotator": "services.enricher.annotate_main",
    "alerter": "services.enricher.alert_main",
    "sealer": "services.writer.seal_main",
}
"""What a service imports only for some arguments."""


class Nursery:
    """The process that forks, seen from the tests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            text=True,
            cwd=_ROOT,
            start_new_session=True,  # a Ctrl-C is for the tests, which end it by closing its input
        )

    def ask(self, **order: object) -> int | None:
        with self._lock:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        with self._process:  # closes its input, and waits for it
            pass


class Born:
    """A process of the nursery, with what deploy.local.processes asks of a child."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery, self._pid, self._status = nursery, pid, None

    def poll(self) -> int | None:
        if self._status is None:
            self._status = self._nursery.ask(pid=self._pid)
        return self._status

    def wait(self, timeout: float) -> int:
        deadline = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self._pid} of the nursery", timeout)
            time.sleep(0.01)
        return status


@cache
def _nursery() -> Nursery:
    return Nursery()


def start_module(
    module: str, arguments: Sequence[str], environ: Mapping[str, str], log: Path
) -> processes.Handle:
    """As processes.start of `python -m module arguments`, in the project's folder."""
    nursery = _nursery()
    pid = nursery.ask(module=module, arguments=list(arguments), environ=dict(environ), log=str(log))
    processes._children[pid] = Born(nursery, pid)
    return processes.handle_of(pid)


def close_nursery() -> None:
    """Ends it, where it was started."""
    if _nursery.cache_info().currsize:
        _nursery().close()
        _nursery.cache_clear()


def _become(order: dict) -> None:
    """In the new process: all by which one that was started by its command is told from another."""
    os.setsid()
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(log)
    os.close(nothing)
    os.environ.clear()
    os.environ.update(order["environ"])
    time.tzset()
    random.seed()
    sys.argv = [order["module"], *order["arguments"]]


def _import(order: dict) -> None:
    for name in (f"{order['module']}.__main__", *(_OTHERS.get(word) for word in order["arguments"])):
        with suppress(Exception):  # the process itself will fail in the same way, and say so
            if name:
                import_module(name)
    sys.modules.pop(f"{order['module']}.__main__", None)


def _serve() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        if "module" in order:
            _import(order)
            begun, begins = os.pipe()
            answer = os.fork()
            if answer == 0:
                _become(order)
                os.close(begun)
                os.close(begins)
                runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
                return
            os.close(begins)
            os.read(begun, 1)  # until it has a session and a log
            os.close(begun)
        else:
            pid, status = os.waitpid(order["pid"], os.WNOHANG)
            answer = None if pid == 0 else os.waitstatus_to_exitcode(status)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve()
