"""`python -m tests.bench.seal_speed`: what sealing and verifying cost, and how soon a record is covered.

1. Events stand recorded; a sealer that has sealed nothing seals them all, with the second look at Kafka: its CPU.
2. All of them are verified: leaves and tree alone, and complete, against the published folder.
3. Events come at a steady rate through enricher, writer and sealer: how long from a record's append to a checkpoint in
   the published folder that covers it. (The append is dated before its commit: the figure is rather too high.)

Beside them stands what aiokafka reads in the same run, doing nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import asyncpg
import psutil
from aiokafka import AIOKafkaProducer

from schemas.hashing import NATIVE
from schemas.seal import decode_seal
from schemas.tlog.tiles import decode_bundle, entries_path
from services.common.settings import KafkaSettings
from services.reporter.evidence import own_policy, read_evidence
from services.reporter.verify import verify_database
from tests.bench import load
from tests.bench.parts import Parts


def main() -> int:
    """Prints JSON, a line for each part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--bytes", type=int, default=300)
    parser.add_argument("--partitions", type=int, default=6)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rate", type=int, default=5_000, help="events per second of the third part")
    parser.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="piperoll-bench-"))
    folder.chmod(0o711)
    try:
        with Parts(folder) as parts:
            kafka = parts.topics("seal", options.partitions)
            asyncio.run(load.send(kafka, options.events, options.bytes))
            tell("baseline", events_per_second=round(asyncio.run(load.read_rate(kafka, options.events))))
            admin = parts.record(kafka)
            published = folder / "one" / "published"
            sealing(parts, kafka, admin, folder / "one")
            for contents in (False, True):
                verifying(parts, admin, published, options.processes, contents=contents)
            covering(parts, folder / "two", options)
    finally:
        shutil.rmtree(folder)
    return 0


def tell(what: str, **figures: object) -> None:
    print(json.dumps({"what": what, **figures}), flush=True)


def sealing(parts: Parts, kafka: KafkaSettings, admin: str, folder: Path) -> None:
    """CPU of one sealer from its first look to its last seal."""
    records = asyncio.run(heads(admin))
    service = parts.start_sealer(kafka, admin, folder)
    process = psutil.Process(service.pid)
    service.wait_ready(60)
    before, began = process.cpu_times(), time.monotonic()
    while sum(sealed_sizes(folder / "published").values()) < records:
        time.sleep(0.05)
    after, took = process.cpu_times(), time.monotonic() - began
    spent = (after.user + after.system) - (before.user + before.system)
    peak = process.memory_info().rss
    service.stop()
    tell(
        "sealing, with the second look",
        records=records,
        records_per_second=round(records / took),
        cpu_us_per_record=round(1e6 * spent / records, 1),
        percent_of_a_core_at_10000_per_second=round(spent / records * 10_000 * 100, 1),
        resident_mib=round(peak / 2**20),
    )


def verifying(parts: Parts, admin: str, published: Path, processes: int, *, contents: bool) -> None:
    """Three times, the best told: its rate, and what it and PostgreSQL spent, starts of processes included."""
    evidence = read_evidence([str(published)], own_policy(published))
    told = []
    for _ in range(3):
        ours, database = own_cpu(), parts.postgres_cpu()
        verification = asyncio.run(
            verify_database(admin, contents=contents, processes=processes, evidence=evidence)
        )
        assert verification.good, verification.findings[:3]
        time.sleep(0.2)  # PostgreSQL's processes end
        records = verification.records
        spent = {"python": own_cpu() - ours, "postgres": parts.postgres_cpu() - database}
        told.append((round(records / verification.seconds), records, spent))
    rate, records, spent = max(told, key=lambda item: item[0])
    tell(
        "verification, complete" if contents else "verification, leaves and tree",
        records=records,
        records_per_second=rate,
        processes=processes,
        native_hashing=NATIVE,
        cpu_us_per_record={part: round(1e6 * seconds / records, 1) for part, seconds in spent.items()},
    )


def own_cpu() -> float:
    """CPU seconds of this process and of those that it started and that have ended."""
    times = psutil.Process().cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def covering(parts: Parts, folder: Path, options: argparse.Namespace) -> None:
    """Seconds from append to coverage, of every record."""
    kafka = parts.topics("cover", options.partitions)
    admin, writer = parts.database()
    services = [parts.start(kafka, "enricher"), parts.start(kafka, "writer", DATABASE_URL=writer)]
    services.append(parts.start_sealer(kafka, admin, folder))
    for service in services:
        service.wait_ready(60)
    seen: list[tuple[float, dict[bytes, int]]] = []
    stop = threading.Event()
    watcher = threading.Thread(target=watch, args=(folder / "published", seen, stop))
    watcher.start()
    asyncio.run(steady(kafka, options.rate, options.seconds, options.bytes))
    deadline = time.monotonic() + 60
    while sum(sealed_sizes(folder / "published").values()) < asyncio.run(heads(admin)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(0.2)
    stop.set()
    watcher.join()
    waits = asyncio.run(delays(admin, seen))
    for service in services:
        service.stop()
    waits.sort()
    tell(
        "append to coverage",
        records=len(waits),
        rate=options.rate,
        median_s=round(waits[len(waits) // 2], 2),
        p99_s=round(waits[len(waits) * 99 // 100], 2),
        largest_s=round(waits[-1], 2),
    )


def watch(published: Path, seen: list[tuple[float, dict[bytes, int]]], stop: threading.Event) -> None:
    while not stop.is_set():
        sizes = sealed_sizes(published)
        if sizes and (not seen or seen[-1][1] != sizes):
            seen.append((time.time(), sizes))
        time.sleep(0.02)


def sealed_sizes(published: Path) -> dict[bytes, int]:
    """What the newest published seal says of each chain."""
    try:
        size = int((published / "seal" / "checkpoint").read_text().split("\n")[1])
        number, width = (size - 1) // 256, (size - 1) % 256 + 1
        entries = decode_bundle((published / "seal" / entries_path(number, width)).read_bytes(), width)
    except (OSError, ValueError):
        return {}
    return {chain.chain_id: chain.size for chain in decode_seal(entries[-1]).chains}


async def steady(kafka: KafkaSettings, rate: int, seconds: int, size: int) -> None:
    """So many events a second, in twenty portions."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all", linger_ms=5)
    await producer.start()
    began = time.monotonic()
    for portion in range(seconds * 20):
        for number in range(portion * rate // 20, (portion + 1) * rate // 20):
            await producer.send(
                kafka.topics.events, load.event(number, size), partition=number % kafka.partitions
            )
        await asyncio.sleep(max(0.0, began + (portion + 1) / 20 - time.monotonic()))
    await producer.stop()


async def heads(admin: str) -> int:
    connection = await asyncpg.connect(admin)
    try:
        return int(await connection.fetchval("SELECT coalesce(sum(next_seq), 0) FROM audit.chain_head"))
    finally:
        await connection.close()


async def delays(admin: str, seen: list[tuple[float, dict[bytes, int]]]) -> list[float]:
    connection = await asyncpg.connect(admin)
    rows = await connection.fetch(
        "SELECT c.chain_id, r.seq, r.appended_us FROM audit.record r JOIN audit.chain c USING (chain_no) ORDER BY 1, 2"
    )
    await connection.close()
    found, at, chain = [], 0, b""
    for chain_id, seq, appended_us in rows:
        if chain_id != chain:
            chain, at = chain_id, 0
        while at < len(seen) and seen[at][1].get(chain_id, 0) <= seq:
            at += 1
        if at < len(seen):
            found.append(seen[at][0] - appended_us / 1_000_000)
    return found


if __name__ == "__main__":
    sys.exit(main())
