"""Ctrl-C and SIGTERM, turned into KeyboardInterrupt, but never between the start of a process and its pid file."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Shield:
    """How many shields are up, whether a signal waits behind them, whether one has got through."""

    up = 0
    waiting = False
    hit = False


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    if _Shield.up:
        _Shield.waiting = True
    elif not _Shield.hit:  # the second Ctrl-C must not interrupt the clean-up after the first
        _Shield.hit = True
        raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[None]:
    """The first of the signals raises KeyboardInterrupt in the main thread while this lasts; others are ignored."""
    if current_thread() is not main_thread():
        yield
        return
    _Shield.waiting = _Shield.hit = False
    before = {number: signal.signal(number, _interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def shielded() -> Iterator[None]:
    """The signals wait until this is over."""
    _Shield.up += 1
    try:
        yield
    finally:
        _Shield.up -= 1
        if _Shield.waiting and not _Shield.up and not _Shield.hit:
            _Shield.hit = True
            raise KeyboardInterrupt
