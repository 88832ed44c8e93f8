"""The Go programs of tests/go: built once a run, what Go downloads and builds stays in the user's cache."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from schemas.tlog.cosignature import CosignatureSigner
from schemas.tlog.note import Signer
from tests.service_process import ROOT


def build(name: str, folder: Path) -> Path:
    """The program `name`. Skips the test where Go is missing; fails it where the build fails."""
    if shutil.which("go") is None:
        pytest.skip("Go is missing: install Go 1.26 or newer, or have these tests run in CI")
    program = folder / name
    command = ["go", "build", "-mod=readonly", "-o", str(program), f"./{name}"]
    done = subprocess.run(command, cwd=ROOT / "tests" / "go", capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"go build failed (is the module proxy reachable?):\n{done.stderr}"
    return program


def go_accepts(logcheck: Path, *arguments: object, key: Signer) -> bool:
    """Whether logcheck accepts; it must end, one way or the other."""
    command = [logcheck, "-key", key.verifier.vkey(), *map(str, arguments)]
    environment = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
    assert done.returncode == 0 or (done.returncode == 1 and "refused:" in done.stderr), done.stderr
    return done.returncode == 0


@contextmanager
def running_witness(program: Path, key: CosignatureSigner, logs: Sequence[str]) -> Iterator[str]:
    """The submission prefix of a witness in memory that knows the logs of these verifier keys. It ends with the context,
    and with this process."""
    command = [str(program), "-key", Signer(key.name, key.seed).private()]
    command += [word for vkey in logs for word in ("-log", vkey)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:  # closes its input, by which it ends
        yield process.stdout.readline().strip()
        process.stdin.close()
        process.wait(timeout=10)
