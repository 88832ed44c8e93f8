"""Tasks of a verification, done by this process and by others that it starts (`worker.py`), all at once."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from typing import IO, Any

from services.common.errors import TransientError
from services.reporter.store import Snapshot
from services.reporter.sweeping import RangeTask, Task, go_through, sweep_range

Progress = Callable[[int, int], None]
"""Called now and then with (records verified, records in all)."""
_AHEAD = 2
"""Tasks that another process has at once: the next is there when one is done."""


class Worker:
    """A process beside this one. It begins to start and to connect when it is made."""

    def __init__(self, dsn: str, snapshot: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "services.reporter.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            process_group=0,  # Ctrl-C is for this process; the other ends with it
        )
        self.pid = self._process.pid
        self.send((dsn, snapshot))

    def send(self, what: object) -> None:
        stdin: IO[bytes] | None = self._process.stdin
        assert stdin is not None
        with suppress(BrokenPipeError):  # why it ended stands in what it wrote before, or `receive` tells
            pickle.dump(what, stdin, protocol=pickle.HIGHEST_PROTOCOL)
            stdin.flush()

    def receive(self) -> Any:
        """The next answer. Raises what the task raised, or TransientError where the process has ended."""
        assert self._process.stdout is not None
        try:
            answer = pickle.load(self._process.stdout)  # noqa: S301  from a process of ours
        except (EOFError, pickle.UnpicklingError) as error:
            raise TransientError("a process of the verification was ended from outside") from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """Ends the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()


class Crew:
    """This process, with `snapshot` to sweep in, and the others. `progress` is told of `total` records."""

    def __init__(self, snapshot: Snapshot, others: Sequence[Worker], progress: Progress, total: int) -> None:
        self._snapshot = snapshot
        self._others = others
        self._progress = progress
        self._total = total

    async def sweep(self, tasks: Sequence[RangeTask]) -> list[Any]:
        """What `sweep_range` finds, in the order of the tasks."""
        return await self._run(tasks)

    async def go_through(self, tasks: Sequence[Task]) -> list[Any]:
        """What `go_through` finds, in the order of the tasks."""
        return await self._run(tasks)

    async def _run(self, tasks: Sequence[Any]) -> list[Any]:
        work = _Work(tasks)
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(max(len(self._others), 1)) as threads:
            others = [loop.run_in_executor(threads, work.hand_to, other) for other in self._others]
            try:
                await self._work_here(work)
                while others and (await asyncio.wait(others, timeout=0.2))[1]:
                    self._progress(min(work.done, self._total), self._total)
                for other in others:
                    other.result()
            except BaseException:
                work.stop()
                for worker in self._others:
                    worker.close()  # so that no thread waits for its answer
                await asyncio.gather(*others, return_exceptions=True)
                raise
        return work.found

    async def _work_here(self, work: _Work) -> None:
        while (item := work.take()) is not None:
            number, task = item
            before = work.done

            def count(records: int, before: int = before) -> None:
                self._progress(min(before + records, self._total), self._total)

            if isinstance(task, RangeTask):
                work.found[number] = await sweep_range(self._snapshot, task)
                work.add(task.end - task.start)
            else:
                work.found[number] = await go_through(task, count)
                work.add(work.found[number].result.records)
            self._progress(min(work.done, self._total), self._total)


class _Work:
    """Tasks that several threads take from, and what is found."""

    def __init__(self, tasks: Sequence[Any]) -> None:
        self._left = deque(enumerate(tasks))
        self.found: list[Any] = [None] * len(tasks)
        self.done = 0

    def take(self) -> tuple[int, Any] | None:
        try:
            return self._left.popleft()
        except IndexError:
            return None

    def add(self, records: int) -> None:
        self.done += records  # a lost update between threads costs the progress bar a step

    def stop(self) -> None:
        self._left.clear()

    def hand_to(self, other: Worker) -> None:
        """Has another process do what is left, until nothing is. In a thread of its own."""
        under_way: dict[int, Any] = {}
        try:
            while True:
                while len(under_way) < _AHEAD and (item := self.take()) is not None:
                    under_way[item[0]] = item[1]
                    other.send(item)
                if not under_way:
                    return
                self._receive(other, under_way)
        except BaseException:
            self.stop()
            raise

    def _receive(self, other: Worker, under_way: dict[int, Any]) -> None:
        counted = 0
        while True:
            number, answer = other.receive()
            if number is None:
                self.add(answer - counted)
                counted = answer
                continue
            task = under_way.pop(number)
            self.found[number] = answer
            if isinstance(task, RangeTask):
                self.add(task.end - task.start)
            return


@asynccontextmanager
async def workers(dsn: str, snapshot: str, count: int) -> AsyncIterator[list[Worker]]:
    """So many processes beside this one, ended with the context."""
    with ExitStack() as started:
        yield [started.enter_context(closing(Worker(dsn, snapshot))) for _ in range(count)]
