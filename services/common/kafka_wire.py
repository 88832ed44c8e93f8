"""The first requests of a connection to a broker, by hand: enough to hear whether it lets us in, and why not."""

from __future__ import annotations

import socket
import struct

METADATA, SASL_HANDSHAKE, SASL_AUTHENTICATE = 3, 17, 36
_VERSIONS = {METADATA: 4, SASL_HANDSHAKE: 1, SASL_AUTHENTICATE: 0}
_MOST = 1024 * 1024
_TLS_ALERT = b"\x15\x03"
_NO_TOPICS = struct.pack(">i?", 0, False)


class SpeaksTlsError(Exception):
    """The other side answers with TLS."""


def metadata(connection: socket.socket) -> bytes:
    """Metadata of no topic. Raises as `ask`."""
    return ask(connection, METADATA, _NO_TOPICS)


def sasl_handshake(connection: socket.socket, mechanism: str) -> list[str]:
    """Names the mechanism; what the broker takes instead, empty where it takes this one. Raises as `ask`."""
    answer = ask(connection, SASL_HANDSHAKE, _short(mechanism.encode()))
    code, count = struct.unpack_from(">hi", answer)
    names, at = [], 6
    for _ in range(count):
        (length,) = struct.unpack_from(">h", answer, at)
        names.append(answer[at + 2 : at + 2 + length].decode("utf-8", "replace"))
        at += 2 + length
    return [] if code == 0 else names or ["none there"]


def sasl_authenticate(connection: socket.socket, token: bytes) -> tuple[str | None, bytes]:
    """One step of signing in: (what the broker objects, None if nothing; its token). Raises as `ask`."""
    answer = ask(connection, SASL_AUTHENTICATE, struct.pack(">i", len(token)) + token)
    code, length = struct.unpack_from(">hh", answer)
    at = 4 + max(length, 0)
    said = answer[4:at].decode("utf-8", "replace")
    (size,) = struct.unpack_from(">i", answer, at)
    return (said or f"error {code}") if code else None, answer[at + 4 : at + 4 + size]


def ask(connection: socket.socket, request: int, body: bytes) -> bytes:
    """The answer's body. Raises SpeaksTlsError, and OSError where the connection ends."""
    head = struct.pack(">hhih", request, _VERSIONS[request], 1, -1)  # correlation id 1, no client id
    connection.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
    size = _receive(connection, 4)
    if size.startswith(_TLS_ALERT):
        raise SpeaksTlsError
    (length,) = struct.unpack(">i", size)
    if not 4 < length <= _MOST:
        raise ConnectionError(f"no answer of Kafka: {size.hex()}")
    return _receive(connection, length)[4:]


def _receive(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = connection.recv(count - len(found))
        if not part:
            raise ConnectionError("it closes the connection")
        found += part
    return found


def _short(text: bytes) -> bytes:
    return struct.pack(">h", len(text)) + text
