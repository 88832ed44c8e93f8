"""The parts of ingest that need neither broker nor HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading

import pytest

from services.common.errors import ConfigurationError
from services.common.settings import KafkaSettings
from services.ingest.access import Access
from services.ingest.body import ClientGoneError, Incoming, read_body
from services.ingest.gate import Gate
from services.ingest.head import Head
from services.ingest.keys import create_key, find_key, read_keys, remove_key
from services.ingest.problems import ProblemError
from services.ingest.producer import KeyPartitioner
from services.ingest.settings import IngestSettings, check_settings


@pytest.mark.parametrize("name", ["keys.yaml", "keys.json"])
def test_a_created_key_is_found_by_its_token_and_the_file_does_not_hold_it(tmp_path, name):
    path = tmp_path / "made" / name
    token = create_key(path, "billing", ["ingest", "read"], ["/billing/*"])
    other = create_key(path, "other")
    assert token not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keys = read_keys(path)
    assert find_key(keys, token).name == "billing"
    assert find_key(keys, token).scopes == ("ingest", "read")
    assert find_key(keys, other).sources == ()
    for wrong in ("", token[:-1], token + "x", keys[0].sha256, "\udcff"):
        assert find_key(keys, wrong) is None
    remove_key(path, "billing")
    assert find_key(read_keys(path), token) is None


def test_a_name_stands_once_and_is_plain(tmp_path):
    path = tmp_path / "keys.yaml"
    create_key(path, "a")
    with pytest.raises(ConfigurationError, match="has a key a"):
        create_key(path, "a")
    for name in ("", "a b", "-a", "ä", "a\n", "x" * 65):
        with pytest.raises(ConfigurationError, match="name"):
            create_key(path, name)
    with pytest.raises(ConfigurationError, match="no key b"):
        remove_key(path, "b")


def test_two_commands_at_once_lose_no_key(tmp_path):
    path = tmp_path / "keys.yaml"
    threads = [threading.Thread(target=create_key, args=(path, f"k{n}")) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(key.name for key in read_keys(path)) == [f"k{n}" for n in range(8)]


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "keys: 5",
        "keys:\n- name: a",
        "keys:\n- {name: a, sha256: x}",
        "other: []",
        "- a",
        "keys:\n- {name: a, sha256: %s, scope: [ingest]}" % ("0" * 64),
        "keys:\n- {name: a, sha256: %s, scopes: [all]}" % ("0" * 64),
        "keys:\n- {name: a, sha256: %s}\n- {name: a, sha256: %s}" % (("0" * 64,) * 2),
    ],
)
def test_a_wrong_file_of_keys_is_refused(tmp_path, text):
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="API_KEYS_FILE"):
        read_keys(path)


def test_keys_are_read_again_when_the_file_changes_and_kept_when_it_breaks(tmp_path):
    path = tmp_path / "keys.yaml"
    first = create_key(path, "first")
    access = Access(path, required=True)
    second = create_key(path, "second")
    assert _status(access, second) == 401
    access.reload()
    assert access.key_of(f"Bearer {second}".encode(), "ingest").name == "second"
    path.write_text("[")
    access.reload()
    assert access.key_of(f"bearer {first}".encode(), "ingest").name == "first"
    path.unlink()
    access.reload()
    assert access.key_of(f"bearer {first}".encode(), "ingest").name == "first"


def test_a_key_needs_the_scope_and_the_scheme(tmp_path):
    path = tmp_path / "keys.yaml"
    reader = create_key(path, "reader", ["read"])
    access = Access(path, required=True)
    assert _status(access, reader) == 403
    assert _status(access, None) == 401
    for header in (b"", b"Bearer", b"Basic " + reader.encode(), reader.encode(), b"Bearer \xff"):
        with pytest.raises(ProblemError) as caught:
            access.key_of(header, "ingest")
        assert caught.value.status == 401
        assert caught.value.headers[b"www-authenticate"].startswith(b"Bearer")


def test_where_no_key_is_required_a_wrong_one_is_still_refused():
    access = Access(None, required=False)
    assert access.key_of(None, "ingest") is None
    assert _status(access, "pr_x") == 401


def _status(access: Access, token: str | None) -> int:
    with pytest.raises(ProblemError) as caught:
        access.key_of(None if token is None else f"Bearer {token}".encode(), "ingest")
    return caught.value.status


def test_beyond_loopback_a_key_is_required_unless_said_otherwise(tmp_path):
    assert not IngestSettings().key_required
    assert IngestSettings(INGEST_HOST="0.0.0.0").key_required
    assert not IngestSettings(INGEST_HOST="0.0.0.0", INGEST_REQUIRE_KEY=False).key_required
    assert IngestSettings(INGEST_REQUIRE_KEY=True).key_required
    with pytest.raises(ConfigurationError, match="API_KEYS_FILE"):
        check_settings(IngestSettings(INGEST_HOST="::"), KafkaSettings())
    check_settings(IngestSettings(INGEST_HOST="::", API_KEYS_FILE=tmp_path / "k"), KafkaSettings())
    with pytest.raises(ConfigurationError, match="INGEST_MAX_INFLIGHT_BYTES"):
        check_settings(IngestSettings(), KafkaSettings(EVENT_MAX_BYTES=64 * 1024 * 1024))


def test_the_gate_counts_requests_and_bytes_and_gives_them_back():
    gate = Gate(2, 100)
    with gate.enter() as first, gate.enter() as second:
        with pytest.raises(ProblemError, match="in flight"):
            gate.enter()
        first.hold(60)
        first.hold(50)
        with pytest.raises(ProblemError) as caught:
            second.hold(41)
        assert caught.value.status == 503
        assert b"retry-after" in caught.value.headers
        second.hold(40)
        assert (gate.requests, gate.bytes) == (2, 100)
    assert (gate.requests, gate.bytes) == (0, 0)


def _receiver(*messages):
    left = list(messages)

    async def receive():
        if not left:
            await asyncio.sleep(60)
        return left.pop(0)

    return receive


def _part(body: bytes, more: bool = True):
    return {"type": "http.request", "body": body, "more_body": more}


async def _read(receive, declared=None, limit=10, seconds=5.0):
    gate = Gate(1, 15)
    try:
        with gate.enter() as place:
            return await read_body(
                receive, place, declared=declared, limit=limit, setting="LIMIT", seconds=seconds
            )
    finally:
        assert (gate.requests, gate.bytes) == (0, 0)


async def test_a_body_is_put_together():
    assert await _read(_receiver(_part(b"12"), _part(b"34"), _part(b"", more=False))) == b"1234"
    assert await _read(_receiver(_part(b"12"), _part(b"34")), declared=4) == b"1234"
    assert await _read(_receiver(_part(b"", more=False))) == b""


async def test_a_body_over_the_limit_is_refused_as_soon_as_it_is_known():
    with pytest.raises(ProblemError, match="LIMIT") as caught:
        await _read(_receiver(), declared=11)
    assert caught.value.status == 413
    with pytest.raises(ProblemError, match="LIMIT"):
        await _read(_receiver(_part(b"123456"), _part(b"78901")))
    with pytest.raises(ProblemError, match="in flight"):
        await _read(_receiver(_part(b"x" * 16)), limit=20)


async def test_a_body_that_breaks_off_is_not_taken_for_whole():
    with pytest.raises(ClientGoneError):
        await _read(_receiver(_part(b"12"), {"type": "http.disconnect"}))


async def test_a_body_that_does_not_come_is_not_waited_for():
    with pytest.raises(ProblemError) as caught:
        await _read(_receiver(_part(b"12")), seconds=0.05)
    assert caught.value.status == 408


LENGTH = [(b"content-length", b"4")]
CHUNKED = [(b"transfer-encoding", b"chunked")]


@pytest.mark.parametrize(
    ("headers", "messages"),
    [
        (LENGTH, [_part(b"12"), _part(b"34")]),
        (LENGTH, [_part(b"12"), {"type": "http.disconnect"}]),
        (CHUNKED, [_part(b"12"), _part(b"", more=False)]),
        ([*LENGTH, *CHUNKED], [_part(b"1234"), _part(b"", more=False)]),
    ],
)
async def test_what_of_a_body_is_still_to_come_is_known_and_can_be_thrown_away(headers, messages):
    incoming = Incoming(_receiver(*messages), headers)
    for message in messages:
        assert not incoming.whole
        assert await incoming() == message
    assert incoming.whole
    again = Incoming(_receiver(*messages), headers)
    assert again.short is (headers is LENGTH)
    await again.discard()
    assert again.whole


async def test_a_request_without_a_body_has_none_to_come():
    assert Incoming(_receiver(), []).whole
    assert Incoming(_receiver(), [(b"content-length", b"0")]).whole


async def test_a_body_is_thrown_away_within_reason_only():
    endless = Incoming(_receiver(*[_part(bytes(1024 * 1024))] * 100), CHUNKED)
    await endless.discard()
    assert not endless.whole
    silent = Incoming(_receiver(), LENGTH)
    await asyncio.wait_for(silent.discard(), 5)
    assert not silent.whole
    await asyncio.wait_for(silent.discard(), 0.1)  # whoever stalls is not waited for again
    assert not Incoming(_receiver(), [*LENGTH, (b"expect", b"100-continue")]).short  # nor asked for more


def _head(query: str = "", **headers: str) -> Head:
    pairs = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    return Head({"headers": pairs, "query_string": query.encode()})


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        ("", 5),
        ("wait=0", 0),
        ("wait=1.5", 1.5),
        ("wait=61", 60),
        ("wait=inf", 60),
        ("x=1", 5),
        ("wait=1&wait=2", 2),
    ],
)
def test_wait_is_a_number_of_seconds_of_sixty_at_most(query, seconds):
    assert _head(query).wait == seconds


@pytest.mark.parametrize("query", ["wait=", "wait=-1", "wait=nan", "wait=soon"])
def test_a_wait_that_is_no_time_is_refused(query):
    with pytest.raises(ProblemError) as caught:
        _ = _head(query).wait
    assert caught.value.status == 400


def test_an_idempotency_key_may_be_quoted():
    assert _head(idempotency_key="abc").idempotency_key == "abc"
    assert _head(idempotency_key='"abc"').idempotency_key == "abc"
    assert _head().idempotency_key is None
    for wrong in ("", '""', " "):
        with pytest.raises(ProblemError):
            _ = _head(idempotency_key=wrong).idempotency_key


def test_idempotency_keys_that_are_no_utf8_are_refused_and_not_taken_for_one():
    head = Head({"headers": [(b"idempotency-key", b"\xff\xfe")], "query_string": b""})
    with pytest.raises(ProblemError, match="UTF-8"):
        _ = head.idempotency_key


class _Cluster:
    def partitions_for_topic(self, _topic):
        return set(range(6))


def test_a_key_goes_to_the_partition_that_kafkas_own_clients_choose():
    from kafka.partitioner.default import DefaultPartitioner  # noqa: PLC0415 - what we compare with

    class Whole(_Cluster):
        def topics(self):
            return {"t"}

        def available_partitions_for_topic(self, _topic):
            return set(range(6))

    for key in (b"", b"/app", "ä".encode(), os.urandom(300)):
        ours = KeyPartitioner().partition("t", key, key, None, None, _Cluster())
        assert ours == DefaultPartitioner().partition("t", key, key, None, None, Whole())


def test_a_problem_is_json_that_says_what_to_do():
    problem = ProblemError(422, "missing-fields", "Do this.", headers={b"x": b"y"}, missing=["a"])
    answer = problem.answer()
    assert (b"content-type", b"application/problem+json") in answer.headers
    assert (b"x", b"y") in answer.headers
    assert json.loads(answer.body) == {
        "type": "urn:piperoll:problem:missing-fields",
        "title": "Missing fields",
        "status": 422,
        "detail": "Do this.",
        "missing": ["a"],
    }
