"""Small parts of the writer: which errors are held and which end it, how much is buffered, how queries are named."""

import asyncpg
import pytest
from kafka import TopicPartition

from services.common.errors import FatalError, TransientError
from services.common.queries import load_queries
from services.common.wire_records import Record
from services.writer.buffer import Buffer
from services.writer.store import FencedError, _translated

AT = TopicPartition("audit.enriched", 0)


def server_error(state: str) -> asyncpg.PostgresError:
    return asyncpg.PostgresError.new({"C": state, "M": "said the server", "S": "ERROR"})


@pytest.mark.parametrize(
    "state",
    [
        "53100",
        "53200",
        "53300",
        "57014",
        "57P01",
        "57P02",
        "57P03",
        "55P03",
        "40001",
        "40P01",
        "08006",
        "25006",
    ],
)
def test_a_database_that_is_full_away_or_busy_is_waited_for(state):
    with pytest.raises(TransientError) as caught, _translated():
        raise server_error(state)
    assert not isinstance(caught.value, FencedError)


@pytest.mark.parametrize("state", ["PR001", "23505"])
def test_another_writer_is_told_apart(state):
    with pytest.raises(FencedError), _translated():
        raise server_error(state)


@pytest.mark.parametrize("state", ["PR002", "23514", "42501", "42P01", "22021", "XX001"])
def test_what_no_waiting_helps_ends_the_writer(state):
    with pytest.raises(FatalError), _translated():
        raise server_error(state)


@pytest.mark.parametrize(
    "error",
    [ConnectionResetError(), TimeoutError(), asyncpg.InterfaceError("x"), asyncpg.InternalClientError("x")],
)
def test_a_connection_that_breaks_is_made_anew(error):
    with pytest.raises(TransientError), _translated():
        raise error


def messages(count: int, size: int) -> dict:
    return {AT: [Record(size, offset, 0, 0, None, b"", []) for offset in range(count)]}


def test_a_buffer_is_due_by_age_or_when_it_is_full():
    buffer = Buffer(10, 10**9, 0.5)
    assert buffer.wait_s(0.0) is None
    assert not buffer.is_due(0.0)
    buffer.add(messages(4, 100), 1.0)
    assert not buffer.is_due(1.4)
    assert buffer.wait_s(1.4) == pytest.approx(0.1)
    assert buffer.is_due(1.5)
    buffer.add(messages(6, 100), 1.1)
    assert buffer.is_due(1.2)
    assert len(buffer.take()[AT]) == 10
    assert not buffer.is_due(9.0)


def test_large_messages_leave_less_room_at_once_and_more_again_later():
    buffer = Buffer(8000, 8 * 2**20, 0.5)
    buffer.add(messages(2, 2**20), 0.0)
    assert buffer.room <= 6
    buffer.take()
    assert buffer.room <= 8
    for _ in range(60):
        buffer.add(messages(10, 300), 0.0)
        buffer.take()
    assert buffer.room > 1000


def test_an_empty_buffer_always_has_room_for_one():
    buffer = Buffer(8000, 65_536, 0.5)
    buffer.add(messages(1, 2**21), 0.0)
    assert buffer.room == 0
    buffer.take()
    assert buffer.room == 1


def test_what_is_dropped_weighs_nothing():
    buffer = Buffer(10, 10**9, 0.5)
    buffer.add(messages(10, 100), 0.0)
    buffer.drop(AT)
    assert not buffer.is_due(9.0)
    assert buffer.room == 10


def test_queries_are_named_once_and_nothing_stands_before_the_first(tmp_path):
    file = tmp_path / "queries.sql"
    file.write_text("-- one: says one\nSELECT 1;\n\n-- two: says two\n-- and more\nSELECT\n    2;\n")
    assert load_queries(file) == {"one": "SELECT 1;", "two": "SELECT\n    2;"}
    file.write_text("-- one: a\nSELECT 1;\n-- one: b\nSELECT 2;\n")
    with pytest.raises(ValueError, match="two queries named one"):
        load_queries(file)
    file.write_text("SELECT 1;\n")
    with pytest.raises(ValueError, match="before the first"):
        load_queries(file)
