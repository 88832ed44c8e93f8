"""`python -m tests.bench.report_speed`: keeping facts of many events, and the document of their month, without verification; with
`--log` also the event log, which goes to whoever gets an edition in full detail.

CPU seconds of PostgreSQL and of this process, since the machine's other work changes the wall clock but hardly these; memory
is this process's largest resident size."""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

import asyncpg

from services.reporter.cutting import find_cut
from services.reporter.document import Inputs, canonical, make_document
from services.reporter.facts_kept import keep_facts
from services.reporter.period import period_named
from services.reporter.runs.event_logs import open_logs
from services.reporter.store import Snapshot, open_snapshot
from tests.bench.parts import Parts
from tests.bench.report_rows import fill_month


def main() -> int:
    """Prints two lines, or three."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--log", action="store_true")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="piperoll-bench-"))
    folder.chmod(0o711)
    try:
        with Parts(folder) as parts:
            admin, _ = parts.database()
            asyncio.run(fill_month(admin, options.events, options.chains))
            asyncio.run(_measure(admin, options.events, log=options.log))
    finally:
        shutil.rmtree(folder)
    return 0


async def _measure(dsn: str, events: int, *, log: bool) -> None:
    start = time.monotonic()
    await keep_facts(dsn)
    seconds = time.monotonic() - start
    print(f"facts: {events:,} records in {seconds:,.1f} s, {events / seconds:,.0f} records/s")
    connection = await asyncpg.connect(dsn)
    await connection.execute("ANALYZE tally.fact")
    await connection.close()
    async with open_snapshot(dsn) as snapshot:
        server, own, start = _cpu(snapshot.connection.get_server_pid()), time.process_time(), time.monotonic()
        inputs = Inputs("monthly", period_named("2026-10", rule="schedule"), await find_cut(snapshot))
        size = len(canonical(await make_document(snapshot, inputs)))
        server = _cpu(snapshot.connection.get_server_pid()) - server
        own = time.process_time() - own
        seconds = time.monotonic() - start
        if log:
            await _measure_log(snapshot, inputs, events)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"document: {events:,} events, {size:,} bytes in {seconds:,.1f} s: {server:,.1f} s of CPU in PostgreSQL, "
        f"{own:,.1f} s in the reporter; largest resident size {memory:,.0f} MiB"
    )


async def _measure_log(snapshot: Snapshot, inputs: Inputs, events: int) -> None:
    server, own, start = _cpu(snapshot.connection.get_server_pid()), time.process_time(), time.monotonic()
    async with open_logs() as logs:
        files = await logs.of(snapshot, inputs)
    server, own = _cpu(snapshot.connection.get_server_pid()) - server, time.process_time() - own
    print(
        f"event log: {sum(file.size for file in files):,} bytes in {time.monotonic() - start:,.1f} s: {1e6 * server / events:,.0f} µs of CPU an "
        f"event in PostgreSQL, {1e6 * own / events:,.0f} µs in the reporter"
    )


def _cpu(pid: int) -> float:
    """CPU seconds of a process (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
