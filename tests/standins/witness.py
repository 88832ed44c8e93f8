"""A witness to test against, after C2SP tlog-witness v1.0.0: it checks signatures and proofs, and remembers.

`mode` makes it misbehave: "away" (503), "busy" (429), "slow" (answers late), "lying" (cosigns another text), "foreign"
(cosigns with another key), "dumb" (409 without a size), "garbage" (200, and no cosignature).
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler

from schemas.tlog.checkpoint import Checkpoint, open_checkpoint
from schemas.tlog.cosignature import CosignatureSigner
from schemas.tlog.merkle import verify_consistency
from schemas.tlog.note import Verifier
from schemas.tlog.witness import SIZE_TYPE, decode_request, encode_cosignatures, encode_size
from tests.standins.hanging_up import ThreadingServer


class StandInWitness:
    """Serves on loopback while the context lasts."""

    def __init__(self, name: str, *logs: Verifier, mode: str = "good") -> None:
        self.signer = CosignatureSigner(name, name.encode().ljust(32, b"\0"))
        self.logs = list(logs)
        self.mode = mode
        self.slow_s = 3.0
        self.seen: Checkpoint | None = None
        self.asked: list[int] = []
        self._lock = threading.Lock()

    @property
    def vkey(self) -> str:
        return self.signer.verifier.vkey()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/submit"

    def __enter__(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_arguments):
                """Quiet."""

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.path == "/submit/add-checkpoint"
                status, kind, said = outer.answer(body)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

        self._server = ThreadingServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_error):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, body: bytes) -> tuple[int, str, bytes]:
        if self.mode == "slow":
            time.sleep(self.slow_s)
        if self.mode in ("away", "busy"):
            return (503 if self.mode == "away" else 429), "text/plain", b"not now\n"
        if self.mode == "dumb":
            return 409, "text/plain", b""
        if self.mode == "garbage":
            return 200, "text/plain", b"hello\n"
        with self._lock:
            return self._decide(body)

    def _decide(self, body: bytes) -> tuple[int, str, bytes]:
        request = decode_request(body)
        self.asked.append(request.old_size)
        origin = request.checkpoint.split(b"\n")[0].decode()
        known = [log for log in self.logs if log.name == origin]
        if not known:
            return 404, "text/plain", b"unknown log\n"
        opened = _opened(request.checkpoint, known)
        if opened is None:
            return 403, "text/plain", b"no trusted signature\n"
        new, held = opened.checkpoint, self.seen
        if request.old_size > new.size:
            return 400, "text/plain", b"old is larger than the checkpoint\n"
        if request.old_size != (held.size if held else 0):
            return 409, SIZE_TYPE, encode_size(held.size if held else 0)
        try:
            if held is not None:
                verify_consistency(held.size, new.size, request.proof, held.root, new.root)
        except ValueError as error:
            return 422, "text/plain", str(error).encode()
        self.seen = new
        text = opened.note.text
        signer = self.signer
        if self.mode == "lying":
            text = text.replace("\n", " \n", 1)
        if self.mode == "foreign":
            signer = CosignatureSigner("other.example/witness", bytes(32))
        return 200, "text/plain", encode_cosignatures([signer.cosign(text, int(time.time()))])


def _opened(note, keys):
    for key in keys:
        with suppress(ValueError):
            return open_checkpoint(note, key)
    return None
