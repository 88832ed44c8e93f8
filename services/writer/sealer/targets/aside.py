"""Calls that block, beside the loop: in daemon threads, so that a target that hangs does not keep the process from ending."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Any, TypeVar

Result = TypeVar("Result")


async def aside(call: Callable[[], Result]) -> Result:
    """The result of a call that blocks, or what it raised. Cancelled, the call runs on, and nobody hears of it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(act: Callable[[Any], None], outcome: Any) -> None:
        if not future.done():
            act(outcome)

    def run() -> None:
        try:
            told: tuple[Callable[[Any], None], Any] = (future.set_result, call())
        except Exception as error:  # noqa: BLE001 - raised again where it is awaited
            told = (future.set_exception, error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, *told)

    Thread(target=run, name="target", daemon=True).start()
    return await future
