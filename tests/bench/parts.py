"""A broker and a database of its own for a benchmark, services as processes, and what is measured of them."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncpg
import psutil

from deploy.local import processes
from deploy.local.ports import free_port
from deploy.local.postgres import Database, execute, run_async, stop_database
from deploy.local.postgres_programs import find_programs
from services.common.kafka import create_topics
from services.common.settings import KafkaSettings
from services.writer.migrate import migrate
from tests.fault.feeder import total
from tests.new_broker import new_broker
from tests.service_process import ServiceProcess

PASSWORDS = dict.fromkeys(("piperoll_writer", "piperoll_sealer", "piperoll_reporter"), "bench")


def query_value(dsn: str, sql: str) -> int:
    """The one number that a query gives."""

    async def ask() -> int:
        connection = await asyncpg.connect(dsn)
        try:
            return int(await connection.fetchval(sql))
        finally:
            await connection.close()

    return run_async(ask())


def largest(process: psutil.Process) -> int:
    """The largest resident size that a process has had, in bytes; where the system does not keep it, the present one."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    except OSError:
        return int(process.memory_info().rss)
    kept = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(kept[0].split()[1]) * 1024 if kept else int(process.memory_info().rss)


@dataclass
class Timing:
    """Events, seconds from the first output to the last, CPU seconds by part, largest resident bytes."""

    events: int
    seconds: float
    cpu: dict[str, float]
    peak: int

    def as_dict(self, baseline: float) -> dict[str, object]:
        rate = self.events / self.seconds
        return {
            "events_per_second": round(rate),
            "of_baseline": round(rate / baseline, 3),
            "cpu_us_per_event": {part: round(1e6 * s / self.events, 1) for part, s in self.cpu.items()},
            "peak_mib": round(self.peak / 2**20),
        }


class Parts:
    """Broker and database while the context lasts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o711, exist_ok=True)
        self._broker = new_broker(folder / "kafka", profile="local")
        self._database = Database(folder / "postgres", free_port(), find_programs(), "bench")
        self._databases = 0
        self._started = 0

    def __enter__(self) -> Self:
        self._kafka_process = self._broker.start()
        self._postgres_process = self._database.start()
        self._broker.wait_ready(self._kafka_process)
        self._database.wait_ready(self._postgres_process)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stop_database(self._postgres_process, grace=10)
        processes.stop(self._kafka_process, grace=10)

    def topics(self, prefix: str, partitions: int) -> KafkaSettings:
        """Settings with topics of their own."""
        settings = KafkaSettings(
            bootstrap_servers=self._broker.address,
            topic_prefix=prefix,
            partitions=partitions,
            session_timeout_ms=6000,
        )
        create_topics(settings)
        return settings

    def database(self) -> tuple[str, str]:
        """(superuser's address, writer's address) of a new migrated database."""
        self._databases += 1
        name = f"bench{self._databases}"
        execute(self._database.dsn(), f"CREATE DATABASE {name}")
        admin = f"{self._database.dsn().rpartition('/')[0]}/{name}"
        migrate(admin, PASSWORDS)
        place = admin.rpartition("@")[2]
        return admin, f"postgresql://piperoll_writer:bench@{place}"

    def start(self, kafka: KafkaSettings, name: str, *arguments: str, **variables: str) -> ServiceProcess:
        """A service as a process."""
        self._started += 1
        own = {n: str(v) for n, v in kafka.model_dump(by_alias=True, exclude_unset=True).items()}
        settings = own | {"HEALTH_PORT": str(free_port()), "LOG_LEVEL": "WARNING"} | variables
        log = self._folder / f"{name}-{self._started}.log"
        return ServiceProcess(name, arguments, settings, log, forked=False)

    def start_sealer(self, kafka: KafkaSettings, admin: str, folder: Path) -> ServiceProcess:
        """A sealer with its memory in `folder`."""
        dsn = f"postgresql://piperoll_sealer:bench@{admin.rpartition('@')[2]}"
        return self.start(kafka, "writer", "sealer", DATABASE_URL=dsn, SEALER_DIR=str(folder))

    def record(self, kafka: KafkaSettings) -> str:
        """Has everything on audit.events enriched and recorded; returns the superuser's address of the database."""
        self.drain_writers(kafka, 1, enricher=1)
        return f"{self._database.dsn().rpartition('/')[0]}/bench{self._databases}"

    def drain(
        self, kafka: KafkaSettings, output: str, variables: dict[str, str] | None = None, **instances: int
    ) -> Timing:
        """Starts services and waits until `output` has as many messages as audit.events. `variables`: settings of theirs."""
        goal = total(kafka, kafka.topics.events)
        services = [
            self.start(kafka, name, **variables or {})
            for name, count in instances.items()
            for _ in range(count)
        ]
        return self._measure(services, goal, lambda: total(kafka, output))

    def drain_writers(self, kafka: KafkaSettings, writers: int, **instances: int) -> Timing:
        """Starts writers (and others) and waits until as many events are recorded as audit.events has."""
        goal = total(kafka, kafka.topics.events)
        admin, writer = self.database()
        services = [self.start(kafka, name) for name, count in instances.items() for _ in range(count)]
        services += [self.start(kafka, "writer", DATABASE_URL=writer) for _ in range(writers)]
        count = (
            "SELECT coalesce(sum(next_source_offset), 0)::bigint FROM audit.chain_head JOIN audit.chain USING (chain_no)"
            f" WHERE topic = '{kafka.topics.events}'"
        )
        return self._measure(services, goal, lambda: query_value(admin, count))

    def _measure(self, services: list[ServiceProcess], goal: int, done) -> Timing:
        watched = {f"{service.name} {n}": psutil.Process(service.pid) for n, service in enumerate(services)}
        others = {"broker": self._kafka_process.pid, "postgres": self._postgres_process.pid}
        begun, first, at_start, peak = None, 0, {}, 0
        while (count := done()) < goal:
            for service in services:
                assert processes.exit_status(service.handle) is None, service.log()
            peak = max([peak, *map(largest, watched.values())])
            if begun is None and count:
                begun, first, at_start = time.monotonic(), count, self._cpu(services, others)
            time.sleep(0.2)
        took = time.monotonic() - (begun or time.monotonic() - 1e-9)
        spent = {part: s - at_start.get(part, 0.0) for part, s in self._cpu(services, others).items()}
        for service in services:
            service.stop()
        return Timing(goal - first, took, spent, peak)

    def postgres_cpu(self) -> float:
        """CPU seconds of PostgreSQL so far, with its processes that have ended."""
        parent = psutil.Process(self._postgres_process.pid)
        spent = 0.0
        for process in [parent, *parent.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                spent += times.user + times.system
                if process == parent:
                    spent += times.children_user + times.children_system
        return spent

    @staticmethod
    def _cpu(services: list[ServiceProcess], others: dict[str, int]) -> dict[str, float]:
        """CPU seconds so far: services of one name together, and broker and database with their children."""
        spent: dict[str, float] = {}
        for service in services:
            times = psutil.Process(service.pid).cpu_times()
            spent[service.name] = spent.get(service.name, 0.0) + times.user + times.system
        for name, pid in others.items():
            parent = psutil.Process(pid)
            for process in [parent, *parent.children(recursive=True)]:
                try:
                    times = process.cpu_times()
                except psutil.NoSuchProcess:
                    continue
                spent[name] = spent.get(name, 0.0) + times.user + times.system
        return spent
