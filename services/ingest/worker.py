"""A thread without which ingest is no use: where it fails, the service ends, so that whoever runs it starts it anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Event, Thread

from services.common.logging import get_logger

log = get_logger(__name__)


class Worker:
    """Runs `work` until `stopping` is set. Any other end of it is logged, sets `failed`, and is told by `on_failure`
    in that thread."""

    def __init__(self, name: str, work: Callable[[], None], on_failure: Callable[[], None]) -> None:
        self.failed = False
        self.stopping = Event()
        self._name = name
        self._work = work
        self._on_failure = on_failure
        self._thread = Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    async def stop(self, seconds: float) -> None:
        """Tells it to end and waits for that."""
        self.stopping.set()
        await asyncio.to_thread(self._thread.join, seconds)

    def _run(self) -> None:
        try:
            self._work()
        except BaseException:  # the thread's last words: nobody above would hear them
            log.exception("thread_failed", thread=self._name)
            self.failed = True
        if self.failed or not self.stopping.is_set():
            self.failed = True
            self._on_failure()
