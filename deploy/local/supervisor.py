"""`python -m deploy.local.supervisor HOME`: runs the services of HOME's plan and starts again what ends.

A service that meets an error which only a restart repairs ends on purpose (FatalError). It comes back after a pause
that doubles with each quick end. Exit status 2 (wrong settings) is final: only a person can repair it.
SIGTERM ends the services, then the supervisor.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

from deploy.local import processes
from deploy.local.home import Home
from deploy.local.state import ServiceState, save_services

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
LONG_ENOUGH = 60.0
"""Seconds after which an end no longer counts as quick."""
STOP_GRACE = 30.0
_WRONG_SETTINGS = 2


class Supervised:
    """One service: its process, and when to start the next one."""

    def __init__(self, name: str, command: list[str], variables: Mapping[str, str], log: Path) -> None:
        self.name, self._command, self._variables, self._log = name, command, variables, log
        self._started = 0.0
        self._next_start = 0.0
        self._pause = FIRST_PAUSE
        self.state = ServiceState("waiting", 0, None, None)

    def step(self, now: float) -> bool:
        """Takes note of an end, starts what is due; returns whether anything changed. `now` in seconds."""
        if self.state.state == "running":
            return self._look(now)
        if self.state.state == "waiting" and now >= self._next_start:
            handle = processes.start(self._command, log=self._log, environ=os.environ | dict(self._variables))
            self._started = now
            self.state = ServiceState("running", self.state.restarts, self.state.exit_status, handle)
            return True
        return False

    def _look(self, now: float) -> bool:
        if self.state.handle is None or (status := processes.exit_status(self.state.handle)) is None:
            return False
        if status == _WRONG_SETTINGS:
            self.state = ServiceState("failed", self.state.restarts, status, None)
            return True
        if now - self._started >= LONG_ENOUGH:
            self._pause = FIRST_PAUSE
        self._next_start = now + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        self.state = ServiceState("waiting", self.state.restarts + 1, status, None)
        return True

    def stop(self) -> None:
        """Ends the process, if it runs."""
        if self.state.handle is not None:
            processes.stop(self.state.handle, grace=STOP_GRACE)


def read_plan(home: Home) -> list[Supervised]:
    """The services that `up` wrote down: name → {"command", "variables"}."""
    plan = json.loads(home.plan.read_text(encoding="utf-8"))
    return [
        Supervised(name, entry["command"], entry["variables"], home.log(name)) for name, entry in plan.items()
    ]


def run(home: Home) -> None:
    """Until SIGTERM or SIGINT."""
    stopping: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        stopping.append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    services = read_plan(home)
    while not stopping:
        changed = [service.step(time.monotonic()) for service in services]
        if any(changed):
            save_services(home, {service.name: service.state for service in services})
        time.sleep(0.1)
    with ThreadPoolExecutor(max_workers=len(services) or 1) as pool:
        list(pool.map(Supervised.stop, services))
    home.services.unlink(missing_ok=True)


if __name__ == "__main__":
    run(Home(Path(sys.argv[1])))
