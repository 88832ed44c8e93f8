"""How long `piperoll up` takes where everything was fetched and made before."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.service_process import ROOT

_GIVEN = ("KAFKA_", "PG_", "DATABASE_", "TOPIC_", "INGEST_", "OPENAI_", "AZURE_", "PIPEROLL_")


def second_start(home: Path) -> float:
    """Seconds of the second `up` of a home, which is down again at the end."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith(_GIVEN)}
    environ["PIPEROLL_HOME"] = str(home)

    def run(command: str) -> float:
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "services.cli", command],
            env=environ,
            cwd=ROOT,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        return time.monotonic() - began

    try:
        run("up")
        run("down")
        return run("up")
    finally:
        run("down")
