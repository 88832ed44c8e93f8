"""PostgreSQL from PyPI and the machine's own, started and ended by hand."""

import os
import shutil
import tempfile
import threading
from pathlib import Path

import asyncpg
import psutil
import pytest

from deploy.local import processes
from deploy.local.errors import StackError
from deploy.local.ports import free_port
from deploy.local.postgres import Database, execute, stop_database
from deploy.local.postgres_programs import Programs, find_programs


@pytest.mark.every_postgres
async def test_the_schema_fits_every_postgres_and_the_reporter_reads_the_view(database, postgres_server):
    connection = await asyncpg.connect(database.reporter_dsn)
    try:
        assert await connection.fetchval("SELECT count(*) FROM audit_events") == 0
        assert int(await connection.fetchval("SHOW server_version_num")) >= 140000
    finally:
        await connection.close()


@pytest.fixture
def closed_folder():
    """A folder that only its owner can enter, as /root is."""
    folder = Path(tempfile.mkdtemp(prefix="piperoll-test-"))
    yield folder
    shutil.rmtree(folder)


def test_in_a_folder_closed_to_others_it_runs_too_also_as_root(closed_folder):
    server = Database(closed_folder / "postgres", free_port(), find_programs({}), "secret", fast=True)
    handle = server.start()
    try:
        server.wait_ready(handle)
        process = psutil.Process(handle.pid)
        data = Path(process.cmdline()[2])
        assert process.uids().real != 0
        assert data.stat().st_mode & 0o777 == 0o700
        assert (data.parent == server.folder) == (os.geteuid() != 0)
    finally:
        stop_database(handle)
        if data.parent != server.folder:
            shutil.rmtree(data.parent)


def test_a_crashed_server_starts_again_although_its_pid_is_now_a_strangers(open_folder):
    server = Database(open_folder / "crashed", free_port(), find_programs({}), "secret", fast=True)
    handle = server.start()
    server.wait_ready(handle)
    execute(server.dsn(), "CREATE TABLE kept ()")
    handle.process().kill()
    processes.wait(handle, 10)
    pid_file = server.folder / "data" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    handle = server.start()
    try:
        server.wait_ready(handle)
        execute(server.dsn(), "SELECT FROM kept")
    finally:
        stop_database(handle)


def test_a_start_waits_for_the_children_of_a_killed_server(open_folder):
    server = Database(open_folder / "orphans", free_port(), find_programs({}), "secret", fast=True)
    handle = server.start()
    server.wait_ready(handle)
    child = handle.process().children()[0]
    child.suspend()
    handle.process().kill()
    processes.wait(handle, 10)
    woken = threading.Timer(1.0, child.resume)
    woken.start()
    handle = server.start()
    try:
        server.wait_ready(handle)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    finally:
        woken.join()
        stop_database(handle)


def test_data_of_another_major_version_is_refused_with_what_to_do(open_folder):
    folder = open_folder / "version"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "PG_VERSION").write_text("12\n")
    with pytest.raises(StackError, match="made by PostgreSQL 12, this is 18: set PIPEROLL_POSTGRES"):
        Database(folder, free_port(), Programs(find_programs({}).folder, 18), "secret").start()
