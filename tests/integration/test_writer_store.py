"""The store: look-ups go by index whatever the statistics say, and a commit whose answer is lost is found out."""

import asyncpg
import pytest

from services.common.errors import TransientError
from services.writer.store import _QUERIES
from tests.builders import Log
from tests.recording import Recorder


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("candidates", (1, list(range(8000)), 0)), ("recorded", ([1], list(range(8000))))],
)
async def test_look_ups_read_no_table_as_a_whole(database, name, arguments):
    log = Log()
    async with Recorder(database.writer_dsn) as writer:
        await writer.record(*(log.event(offset, offset - 1) for offset in range(500)))
        for _ in range(8):  # beyond the five times after which a plan for all parameters may be made
            rows = await writer.store._reading.fetch("EXPLAIN " + _QUERIES[name], *arguments)
    plan = "\n".join(row[0] for row in rows)
    assert "Index" in plan
    assert "Seq Scan on record_" not in plan
    assert "Seq Scan on payload_2" not in plan
    assert "Hash Join" not in plan


async def test_a_batch_whose_commit_was_not_answered_is_not_recorded_twice(database, monkeypatch):
    """The connection breaks after the server has committed: the head alone knows, and is asked."""
    log = Log()
    async with Recorder(database.writer_dsn) as writer:
        await writer.record(log.event(0, -1))
        linked = await writer.link(log.event(1), log.event(2))
        await writer.store.append([(writer.place, linked)])
        await writer.store.open()  # as after an error: nothing is known of how it ended
        await writer.claim()
        assert writer.linker.chain.next_source_offset == 3
        again = await writer.record(log.event(1), log.event(2), log.event(3))
        assert again.dropped == {"redelivered": 2}
        assert writer.linker.chain.next_seq == 5


async def test_without_a_connection_it_says_so(database):
    async with Recorder(database.writer_dsn) as writer:
        await writer.store.close()
        with pytest.raises(TransientError, match="not connected"):
            await writer.store.lineage(writer.place)
        with pytest.raises(TransientError, match="not connected"):
            await writer.store.append([])


async def test_a_role_that_could_change_records_is_told_apart(database):
    """The writer's own can not; a superuser, whoever may act as the owner, and whoever was granted more, can."""
    connection = await asyncpg.connect(database.admin_dsn)
    said = []
    try:
        for statement in (
            "GRANT piperoll_owner TO piperoll_writer",
            "REVOKE piperoll_owner FROM piperoll_writer; GRANT DELETE ON audit.payload TO piperoll_writer",
            "REVOKE DELETE ON audit.payload FROM piperoll_writer",
        ):
            await connection.execute(statement)
            async with Recorder(database.writer_dsn) as writer:
                said.append(await writer.store.might())
        async with Recorder(database.admin_dsn) as writer:
            said.append(await writer.store.might())
    finally:
        await connection.execute("REVOKE piperoll_owner FROM piperoll_writer")
        await connection.close()
    assert said == [
        "may act as the owner of the tables",
        "may change or delete records",
        "",
        "is a superuser",
    ]
