"""The other processes of a verification: what ends them, and what is said then."""

import psutil
import pytest

from services.common.errors import TransientError
from services.reporter.apart import Worker, workers

NOBODY = "postgresql://nobody@127.0.0.1:9/none"


def test_what_a_worker_cannot_do_is_raised_here():
    worker = Worker(NOBODY, "00000003-1")
    try:
        with pytest.raises(TransientError, match="DATABASE_URL"):
            worker.receive()
    finally:
        worker.close()


def test_a_worker_ended_from_outside_is_an_error_and_no_wait():
    worker = Worker(NOBODY, "00000003-1")
    worker.close()
    worker = Worker(NOBODY, "00000003-1")
    try:
        psutil.Process(worker.pid).kill()
        with pytest.raises(TransientError, match="ended from outside"):
            worker.receive()
        worker.send("a task that nobody takes")
    finally:
        worker.close()


async def test_workers_end_with_their_context():
    async with workers(NOBODY, "00000003-1", 2) as started:
        pids = [worker.pid for worker in started]
        assert all(psutil.pid_exists(pid) for pid in pids)
    assert not any(psutil.pid_exists(pid) for pid in pids)
