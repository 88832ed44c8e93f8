"""Free ports on the loopback address."""

from __future__ import annotations

import fcntl
import random
import socket
from collections.abc import Callable
from pathlib import Path

from deploy.local.artifacts import cache_folder
from deploy.local.errors import StackError

LOOPBACK = "127.0.0.1"
_TRIES = 200
_QUIET = (20_000, 32_000)
"""Below the ports that systems give to outgoing connections."""
_handed_out: set[int] = set()


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of the loopback address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Any free port, none twice, and none that the system gives to outgoing connections in the meantime."""
    while True:
        port = random.SystemRandom().randrange(*_QUIET)
        if port not in _handed_out and is_free(port):
            _handed_out.add(port)
            return port


class Ports:
    """Hands out ports, none twice, and none to two processes of this user that ask at the same time.

    Between the look and the server's start a port is held by a lock on its byte of one file in the user's cache
    folder; closing gives it up.
    """

    def __init__(self, say: Callable[[str], None], cache: Path | None = None) -> None:
        self._say = say
        self._taken: set[int] = set()
        folder = cache_folder() if cache is None else cache
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._claims = (folder / "ports").open("w")
        except OSError as error:
            raise StackError(
                f"cannot write to {folder}: {error.strerror}. Set PIPEROLL_CACHE to a folder that can be written."
            ) from error

    def take(self, wanted: int, what: str) -> int:
        """`wanted`, or the next port that is free, said aloud. Raises StackError."""
        for port in range(wanted, min(wanted + _TRIES, 65536)):
            if port not in self._taken and is_free(port) and self._claim(port):
                self._taken.add(port)
                if port != wanted:
                    self._say(f"port {wanted} is taken: {what} uses {port}")
                return port
        raise StackError(
            f"no free port for {what} between {wanted} and {wanted + _TRIES}: end what uses them"
        )

    def close(self) -> None:
        self._claims.close()

    def _claim(self, port: int) -> bool:
        try:
            fcntl.lockf(self._claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            return False
        return True
