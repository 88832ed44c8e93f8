"""A service under test: `python -m services.<name>` as a process of its own, forked from the nursery."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from deploy.local import processes
from tests.nursery import start_module

ROOT = Path(__file__).parent.parent
_TAKEN_FROM_US = (
    "ALERT",
    "KAFKA_",
    "TOPIC_",
    "PG_",
    "DATABASE_URL",
    "OPENAI_",
    "AI_",
    "AZURE_",
    "PIPEROLL_",
    "HEALTH_",
    "INGEST_",
)


class ServiceProcess:
    """Started at once; what it prints goes to a file. `pid`, `port` (of /readyz), `url`. Unless `forked`, or
    where Python itself is told something by `variables`, it imports all itself."""

    def __init__(
        self,
        name: str,
        arguments: tuple[str, ...],
        variables: Mapping[str, str],
        log: Path,
        *,
        forked: bool = True,
    ) -> None:
        self.name = name
        self.log_file = log
        self.port = int(variables["HEALTH_PORT"])
        scheme = "https" if variables.get("INGEST_SSL_CERTFILE") else "http"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        inherited = {n: text for n, text in os.environ.items() if not n.startswith(_TAKEN_FROM_US)}
        environ = inherited | {"PYTHONUNBUFFERED": "1", "LOG_FORMAT": "json"} | dict(variables)
        own_python = any(variable.startswith("PYTHON") for variable in variables)  # read when Python starts
        if forked and not own_python:
            self.handle = start_module(f"services.{name}", arguments, environ, log)
        else:
            command = [sys.executable, "-m", f"services.{name}", *arguments]
            self.handle = processes.start(command, log=log, environ=environ, folder=ROOT)
        self.pid = self.handle.pid

    def wait_ready(self, timeout: float = 40.0) -> ServiceProcess:
        """Until /readyz says 200. Fails with the log where the process ends or takes longer."""
        deadline = time.monotonic() + timeout
        # one, and unverified: making it costs 45 ms of CPU where it reads all authorities
        with httpx.Client(timeout=2, trust_env=False, verify=False) as client:
            while (wrong := self._unready(client)) is not None:
                ended = processes.exit_status(self.handle)
                if ended is not None:
                    raise AssertionError(f"{self.name} ended with {ended} before it was ready:\n{self.log()}")
                if time.monotonic() > deadline:
                    raise AssertionError(
                        f"{self.name} is not ready after {timeout} s ({wrong}):\n{self.log()}"
                    )
                time.sleep(0.05)
        return self

    def _unready(self, client: httpx.Client) -> str | None:
        try:
            answer = client.get(f"{self.url}/readyz")
        except httpx.HTTPError as error:
            return repr(error)
        return None if answer.status_code == 200 else answer.text.strip()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal; does not wait."""
        if processes.exit_status(self.handle) is None:
            os.kill(self.pid, number)

    def wait(self, timeout: float = 30.0) -> int:
        """Waits for its end; returns the exit status (negative: ended by that signal)."""
        return processes.wait(self.handle, timeout)

    def stop(self, timeout: float = 30.0) -> int:
        """SIGTERM, then waits; the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> int:
        """SIGKILL, then waits."""
        self.signal(signal.SIGKILL)
        return self.wait(10)

    def end(self) -> None:
        """Whatever state it is in (stopped by SIGSTOP too): it and its children are gone after this."""
        if processes.exit_status(self.handle) is None:
            os.kill(self.pid, signal.SIGCONT)
            processes.stop(self.handle, grace=5)
        self.wait(10)

    def log(self) -> str:
        """All that it has printed."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")
