"""`python -m tests.bench.verify_speed`: records per second of a complete verification, and of leaves and tree alone.

A database of its own is filled with chains of events of about 300 bytes, made through the schemas alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from deploy.local.ports import free_port
from deploy.local.postgres import Database, execute, run_async, stop_database
from deploy.local.postgres_programs import find_programs
from services.reporter.verify import verify_database
from services.writer.migrate import migrate_async
from tests.audit_tables import fill
from tests.chain_rows import ChainRows


def main() -> int:
    """Prints a line for each way to verify."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=400_000)
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="piperoll-bench-"))
    folder.chmod(0o711)
    server = Database(folder / "postgres", free_port(), find_programs(), "bench")
    handle = server.start()
    try:
        server.wait_ready(handle)
        execute(server.dsn(), "CREATE DATABASE piperoll")
        dsn = server.dsn("piperoll")
        run_async(migrate_async(dsn, {}))
        run_async(fill_chains(dsn, options.chains, options.records // options.chains))
        for contents in (False, True):
            report(dsn, options.processes, contents=contents)
    finally:
        stop_database(handle, grace=10)
        shutil.rmtree(folder)
    return 0


async def fill_chains(dsn: str, chains: int, records: int) -> None:
    for number in range(chains):
        chain = ChainRows(chain_no=number + 1, partition=number, seed=number + 1)
        data = {"user_id": 42, "dataset_id": "ds-99", "note": "x" * 120}
        for _ in range(records - 1):
            chain.event(data)
        await fill(dsn, [chain])


def report(dsn: str, processes_: int, *, contents: bool) -> None:
    started = time.monotonic()
    verification = asyncio.run(verify_database(dsn, contents=contents, processes=processes_))
    seconds = time.monotonic() - started
    assert verification.good
    told = {
        "what": "complete" if contents else "leaves and tree",
        "records": verification.records,
        "seconds": round(seconds, 2),
        "records_per_second": round(verification.records / seconds),
        "processes": processes_,
    }
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    sys.exit(main())
