"""`python -m services.reporter.worker`: one of the processes of a verification; takes tasks from its standard input, one
after the other, and answers on its standard output. Both ends are ours and speak pickle. It ends when its input does.
"""

from __future__ import annotations

import asyncio
import pickle
import sys
from typing import Any, BinaryIO

from services.reporter.sweeping import RangeTask, go_through, open_for_sweeps, sweep_range


def main() -> int:
    """Reads (dsn, snapshot's name), then (number, task) until the end; writes (number, what was found), while a chain is
    gone through (None, records read so far), and in the place of both an exception."""
    reading, writing = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr
    try:
        asyncio.run(_serve(reading, writing))
    except Exception as error:  # noqa: BLE001  raised again where the task came from
        _tell(writing, error)
    return 0


async def _serve(reading: BinaryIO, writing: BinaryIO) -> None:
    dsn, name = pickle.load(reading)  # noqa: S301  from the process that started this one
    async with open_for_sweeps(dsn, name) as snapshot:
        while True:
            try:
                number, task = pickle.load(reading)  # noqa: S301  the same
            except EOFError:
                return
            if isinstance(task, RangeTask):
                found: Any = await sweep_range(snapshot, task)
            else:
                found = await go_through(task, lambda count: _tell(writing, (None, count)))
            _tell(writing, (number, found))


def _tell(writing: BinaryIO, what: object) -> None:
    try:
        pickle.dump(what, writing, protocol=pickle.HIGHEST_PROTOCOL)
        writing.flush()
    except BrokenPipeError:
        sys.exit(0)  # nobody waits any more


if __name__ == "__main__":
    sys.exit(main())
