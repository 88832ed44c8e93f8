"""/healthz, /readyz and /metrics, served from a thread of their own so that a busy service still answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import contextmanager
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

from services.common.logging import get_logger
from services.common.settings import HealthSettings

log = get_logger(__name__)

Check = Callable[[], str | None]
"""Says None where all is well, else what is wrong in one line."""


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        del format, args


@contextmanager
def health_server(
    settings: HealthSettings, registry: CollectorRegistry, *, alive: Check, ready: Check
) -> Any:
    """Serves while the context lasts; yields the port in use."""
    metrics: Callable[..., Iterable[bytes]] = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO")
        if path == "/metrics":
            return metrics(environ, start_response)
        checks = {"/healthz": alive, "/readyz": ready}
        if path not in checks:
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"/healthz, /readyz, /metrics\n"]
        wrong = checks[path]()
        start_response(
            "200 OK" if wrong is None else "503 Service Unavailable", [("Content-Type", "text/plain")]
        )
        return [(wrong or "ok").encode() + b"\n"]

    server: WSGIServer = make_server(settings.host, settings.port, answer, handler_class=_Quiet)
    thread = Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    log.info("health_served", host=settings.host, port=server.server_port)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
