"""Whatever is killed, stopped or cut: every offset ends in exactly one record, and every chain verifies."""

import asyncio
import random
import signal
import time
from contextlib import asynccontextmanager

import asyncpg
import pytest

from deploy.local.ports import free_port
from deploy.local.postgres import Database, execute, stop_database
from deploy.local.postgres_programs import find_programs
from schemas.record import Kind
from services.writer.migrate import LOGIN_ROLES, migrate_async
from tests.fault.feeder import wait_until
from tests.writing import Asked, Producer

FAST = {"WRITER_BATCH_AGE_MS": "5", "WRITER_BATCH_RECORDS": "200", "WRITER_STATEMENT_TIMEOUT_S": "4"}
PARTITIONS = 3
EACH = 1000
WRITERS = "FROM pg_stat_activity WHERE application_name = 'piperoll-writer' AND datname = current_database()"


@pytest.fixture
async def asked(database):
    connection = await asyncpg.connect(database.admin_dsn)
    yield Asked(connection)
    await connection.close()


@pytest.fixture
def producer(kafka):
    with Producer(kafka) as made:
        yield made


@asynccontextmanager
async def feeding(producer):
    """Feeds EACH events to each partition in small portions, with redeliveries as a restarting enricher makes them."""
    logs = producer.logs(PARTITIONS)
    chance = random.Random(7)

    def feed() -> None:
        position = 0
        while position < EACH:
            end = min(position + 50, EACH)
            for log in logs:
                producer.enriched(log.partition, (log.event(n, n - 1) for n in range(position, end)))
            time.sleep(0.15)  # so that the faults fall into the flow
            position = max(0, end - chance.choice([0, 0, 0, 30])) if end < EACH else end

    task = asyncio.create_task(asyncio.to_thread(feed))
    try:
        yield
    finally:
        await task


async def everything_once(asked) -> None:
    """All events are recorded, each once, in order, in one chain a partition that verifies."""
    await asked.until_events(PARTITIONS * EACH, 90)
    for partition in range(PARTITIONS):
        assert await asked.offsets(partition) == list(range(EACH))
        assert await asked.kinds(".events", partition) == [Kind.GENESIS] + [Kind.EVENT] * EACH
    await asked.verify()


async def recorded(asked, at_least: int) -> None:
    await asked.until(f"SELECT count(*) >= {at_least} FROM audit.record WHERE kind = 1", True)


async def said(service, event: str, times: int = 1) -> None:
    """Until its log has so many lines of an event."""
    line = f'"event": "{event}"'
    await asyncio.to_thread(
        wait_until, lambda: service.log().count(line) >= times, what=f"{event} in the log", every=0.1
    )


async def test_kill_9_in_mid_flow(producer, asked, start_service):
    async with feeding(producer):
        for share in (200, 700, 1400):
            writer = start_service("writer", **FAST)
            await recorded(asked, share)
            writer.kill()
    start_service("writer", **FAST)
    await everything_once(asked)


async def test_two_writers_share_and_hand_over(producer, asked, start_service):
    async with feeding(producer):
        first = start_service("writer", **FAST)
        await recorded(asked, 200)
        second = start_service("writer", **FAST).wait_ready()
        await recorded(asked, 1200)
        assert first.stop() == 0
        third = start_service("writer", **FAST).wait_ready()
        await recorded(asked, 1600)
        assert second.stop() == 0
    await everything_once(asked)
    assert third.stop() == 0


async def test_a_stopped_writers_transaction_ends_and_its_late_work_fails(
    producer, asked, database, start_service
):
    """SIGSTOP with a transaction open on the server: the heir waits no longer than the statement time-out, and what the
    zombie does when it wakes changes nothing."""
    async with feeding(producer):
        zombie = start_service("writer", **FAST)
        await recorded(asked, 300)
        locker = await asyncpg.connect(database.admin_dsn)
        async with locker.transaction():
            await locker.execute("SELECT FROM audit.chain_head FOR UPDATE")
            await asked.until(f"SELECT count(*) > 0 {WRITERS} AND wait_event_type = 'Lock'", True)
            zombie.signal(signal.SIGSTOP)
        await locker.close()  # its transaction goes on in the server as far as it can
        heir = start_service("writer", **FAST).wait_ready()
        await recorded(asked, PARTITIONS * EACH - 500)
        zombie.signal(signal.SIGCONT)
    await everything_once(asked)
    assert heir.stop() == 0
    assert zombie.stop() == 0
    assert '"level": "critical"' not in zombie.log() + heir.log()


async def test_its_connections_are_cut_again_and_again(producer, asked, start_service):
    writer = start_service("writer", **FAST)
    async with feeding(producer):
        for share in range(300, PARTITIONS * EACH, 700):
            await recorded(asked, share)
            await asked.connection.execute(f"SELECT pg_terminate_backend(pid) {WRITERS}")
    await everything_once(asked)
    assert '"event": "held"' in writer.log()
    assert writer.stop() == 0


async def test_a_database_that_is_too_slow_is_waited_for(producer, asked, database, start_service):
    writer = start_service("writer", **FAST | {"WRITER_STATEMENT_TIMEOUT_S": "1"})
    async with feeding(producer):
        await recorded(asked, 300)
        locker = await asyncpg.connect(database.admin_dsn)
        async with locker.transaction():
            await locker.execute("LOCK TABLE audit.record IN SHARE MODE")
            await said(writer, "held")
        await locker.close()
    await everything_once(asked)
    assert '"event": "held"' in writer.log()


async def test_postgresql_is_killed_in_mid_transaction_and_comes_back(
    producer, kafka, open_folder, start_service
):
    server = Database(
        open_folder / f"pg-{kafka.topic_prefix}", free_port(), find_programs(), "secret", fast=False
    )
    handle = server.start()
    try:
        server.wait_ready(handle)
        execute(server.dsn(), "CREATE DATABASE faults")
        admin = server.dsn("faults")
        await migrate_async(admin, dict.fromkeys(LOGIN_ROLES, "secret"))
        dsn = server.dsn("faults", "piperoll_writer", "secret")
        writer = start_service("writer", **FAST | {"DATABASE_URL": dsn})
        async with feeding(producer):
            for share in (300, 1200):
                await _until_recorded(admin, share)
                stop_database(handle, grace=0)
                await asyncio.sleep(0.5)
                handle = server.start()
                server.wait_ready(handle)
        connection = await asyncpg.connect(admin)
        await everything_once(Asked(connection))
        await connection.close()
        assert '"event": "held"' in writer.log()
        assert writer.stop() == 0
    finally:
        stop_database(handle, grace=10)


async def _until_recorded(dsn: str, at_least: int) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await recorded(Asked(connection), at_least)
    finally:
        await connection.close()


async def test_without_postgresql_it_waits_and_says_so(kafka, start_service):
    writer = start_service(
        "writer", DATABASE_URL=f"postgresql://piperoll_writer@127.0.0.1:{free_port()}/none"
    )
    await said(writer, "awaited", times=3)
    assert writer.stop() == 0


async def test_without_a_broker_it_waits_and_says_so(database, start_service):
    writer = start_service("writer", KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{free_port()}")
    await said(writer, "awaited")
    assert writer.stop(60) == 0
