"""A real broker for tests, in a folder and on ports of its own; not started yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deploy.local.artifacts import kafka_jars
from deploy.local.java import java
from deploy.local.kafka import Broker
from deploy.local.ports import free_port
from deploy.local.start_cache import start_cache


def new_broker(folder: Path, **changes: Any) -> Broker:
    """Fields of Broker may be given otherwise by `changes`."""
    program, jars = java(), kafka_jars(print)
    fields = {
        "folder": folder,
        "port": free_port(),
        "controller_port": free_port(),
        "java": program,
        "jars": jars,
        "profile": "fast",
        "cache": start_cache(program, jars),
    }
    return Broker(**(fields | changes))
