"""Logs by structlog: the event name is a stable snake_case verb phrase, facts are keys.

JSON by default, columns on a terminal. What libraries log through `logging` goes the same way. Values that come from
events are data: both renderers escape control characters.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from services.common.settings import LogSettings

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
_NOISY = ("aiokafka", "kafka", "faust", "mode", "asyncio")


def configure_logging(settings: LogSettings, service: str) -> None:
    """Sets up structlog and the standard library's logging for this process; lines go to stderr."""
    columns = settings.format == "columns" or (settings.format == "auto" and sys.stderr.isatty())
    # Plain tracebacks: the pretty ones show local variables, and so what stands in events.
    renderer: Any = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if columns
        else structlog.processors.JSONRenderer()
    )
    exceptions: list[Any] = [] if columns else [structlog.processors.format_exc_info]
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_SHARED, structlog.stdlib.add_logger_name],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *exceptions, renderer],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level)
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.contextvars.bind_contextvars(service=service)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger; `name` is the module."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
