"""Tasks of a verification one after the other in this process, or several at once in processes of their own."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from services.common.errors import TransientError
from services.reporter.sweeping import Counted, RangeTask, Task, go_through, sweep_range

Progress = Callable[[int, int], None]
"""Called now and then with (records verified, records in all)."""


async def run_here(work: Any, tasks: Sequence[Any], progress: Progress, total: int) -> list[Any]:
    """One after the other, in this process."""
    done, results = 0, []
    for task in tasks:
        counted = 0

        def count(records: int, before: int = done) -> None:
            nonlocal counted
            counted = records
            progress(min(before + records, total), total)

        results.append(await work(task, count))
        done += counted
    return results


def run_apart(
    work: Callable[[Any], Any], tasks: Sequence[Any], processes: int, progress: Progress, total: int
) -> list[Any]:
    """The same in processes of their own; the longest tasks are begun first. Blocks."""
    if not tasks:
        return []
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", 0)
    with ProcessPoolExecutor(min(processes, len(tasks)), context, _begin_process, (counter,)) as pool:
        futures = [pool.submit(work, task) for task in tasks]
        try:
            while wait(futures, timeout=0.2, return_when=FIRST_EXCEPTION).not_done:
                progress(min(counter.value, total), total)
                if any(future.done() and future.exception() is not None for future in futures):
                    break
            return [future.result() for future in futures]
        except BrokenProcessPool as error:
            raise TransientError(f"a process of the verification was ended from outside: {error}") from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_counters: list[Any] = []
"""In a process of its own: the one number that all of them add to."""


def _begin_process(counter: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it at once and without a traceback
    _counters.append(counter)


def sweep_apart(task: RangeTask) -> Any:
    return asyncio.run(_counting(sweep_range, task))


def go_apart(task: Task) -> Any:
    return asyncio.run(_counting(go_through, task))


def _counting(
    work: Callable[[Any, Counted], Coroutine[Any, Any, Any]], task: Any
) -> Coroutine[Any, Any, Any]:
    (counter,) = _counters
    counted = 0

    def add(count: int) -> None:
        nonlocal counted
        with counter.get_lock():
            counter.value += count - counted
        counted = count

    return work(task, add)
