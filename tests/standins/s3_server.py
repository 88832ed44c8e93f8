"""An S3 to test against: moto's server, which speaks S3 over HTTP and keeps versions and object locks in memory.

Checked against it: names, bodies, `If-None-Match`, retention of a bucket made with object lock, the refusal of one made
without. Not checked, since moto does not do it: signatures, rights, and that the lock holds against the owner.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from deploy.local.ports import free_port


class S3Server:
    """A process of its own while the context lasts."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while True:
            try:
                with urlopen(f"{self.url}/moto-api/", timeout=2):
                    return self
            except (URLError, OSError):
                assert time.monotonic() < deadline, self._log.read_text()
                assert self._process.poll() is None, self._log.read_text()
                time.sleep(0.1)

    def __exit__(self, *_error):
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
