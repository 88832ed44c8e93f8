"""Free ports on the loopback address."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection

from deploy.local.errors import StackError

LOOPBACK = "127.0.0.1"
_TRIES = 200


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
    """Any free port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port


def next_free_port(wanted: int, what: str, say: Callable[[str], None], taken: Collection[int] = ()) -> int:
    """`wanted`, or the next port that is free and not in `taken`; another one than wanted is said aloud."""
    for port in range(wanted, min(wanted + _TRIES, 65536)):
        if port not in taken and is_free(port):
            if port != wanted:
                say(f"port {wanted} is taken: {what} uses {port}")
            return port
    raise StackError(f"no free port for {what} between {wanted} and {wanted + _TRIES}: end what uses them")
