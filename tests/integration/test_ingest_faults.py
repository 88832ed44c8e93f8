"""Ingest when things go wrong: no broker, a silent one, too much load, the end of the process, wrong settings."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from deploy.local import processes
from deploy.local.ports import free_port
from services.common.kafka import create_topics
from services.common.settings import KafkaSettings
from services.ingest.keys import create_key, remove_key
from tests.ingest_parts import EVENT, LINES, SHORT, Ingest, ingest_on, messages, topics_on, until
from tests.new_broker import new_broker
from tests.service_process import ROOT

MIB = 1024 * 1024


class OwnBroker:
    """A broker that a test may stop, for itself alone."""

    def __init__(self, folder: Path) -> None:
        self.broker = new_broker(folder)
        self.handle = self.broker.start()
        self.broker.wait_ready(self.handle)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.handle.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        processes.wait(self.handle, 10)

    def start(self) -> None:
        self.handle = self.broker.start()
        self.broker.wait_ready(self.handle)


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[OwnBroker]:
    broker = OwnBroker(tmp_path / "kafka")
    yield broker
    if processes.exit_status(broker.handle) is None:
        broker.signal(signal.SIGCONT)
        processes.stop(broker.handle, grace=5)


def ready(ingest: Ingest) -> bool:
    return ingest.client.get("/readyz").status_code == 200


def post(ingest: Ingest, identifier: str) -> httpx.Response:
    return ingest.post("/audit?wait=0", json=SHORT | {"id": identifier})


def test_a_silent_broker_gives_503_in_time_then_at_once_and_all_is_well_when_it_speaks(own_broker, tmp_path):
    kafka = topics_on(own_broker.broker.address)
    with ingest_on(kafka, tmp_path, INGEST_DELIVERY_TIMEOUT="3") as ingest:
        assert post(ingest, "before").status_code == 202
        own_broker.signal(signal.SIGSTOP)
        lines = [json.dumps(SHORT), "", json.dumps(SHORT | {"id": "named"})]
        with ThreadPoolExecutor(9) as pool:
            batch = pool.submit(ingest.post, "/v1/events", content="\n".join(lines), headers=LINES)
            answers = list(pool.map(lambda number: post(ingest, f"during-{number}"), range(8)))
            problem = batch.result().json()
        for answer in answers:
            assert answer.status_code == 503
            assert answer.elapsed.total_seconds() < 15
            assert int(answer.headers["retry-after"]) > 0
        assert {answer.json()["type"] for answer in answers} == {"urn:piperoll:problem:not-durable"}
        said = sorted((answer.json()["unknown"] for answer in answers), key=str)
        assert said == [[{"id": f"during-{n}"}] for n in range(8)]
        assert "may or may not" in answers[0].json()["detail"]
        late = until(lambda: (a := post(ingest, "late")).json()["type"].endswith("broker-away") and a)
        assert (late.status_code, late.elapsed.total_seconds() < 2.5) == (503, True)
        assert not ready(ingest)
        assert ingest.client.get("/healthz").status_code == 200
        own_broker.signal(signal.SIGCONT)
        until(lambda: ready(ingest), 30)
        assert post(ingest, "after").status_code == 202
        found = ingest.ids()
        assert {"before", "after"} <= set(found)
        assert "late" not in found
        assert (problem["durable"], problem["not_recorded"]) == ([], [])
        send_again(ingest, lines, problem["unknown"])


def send_again(ingest: Ingest, lines: list[str], items: list[dict[str, Any]]) -> None:
    """As a client would, with the ids of the problem: a repeat has the bytes of what may have been recorded."""
    assert [item["line"] for item in items] == [1, 3]
    again = [json.dumps(json.loads(lines[item["line"] - 1]) | {"id": item["id"]}) for item in items]
    answer = ingest.post("/v1/events", content="\n".join(again), headers=LINES)
    ids = [item["id"] for item in items]
    assert (answer.status_code, answer.json()["ids"]) == (202, ids)
    values = [message.value for message in ingest.messages() if json.loads(message.value)["id"] in ids]
    assert len(values) >= 2
    assert len(set(values)) == 2


def test_an_event_that_the_broker_finds_too_large_does_not_hide_those_that_are_durable(broker, tmp_path):
    kafka = KafkaSettings(
        bootstrap_servers=broker, topic_prefix=f"small{free_port()}", partitions=1, EVENT_MAX_BYTES=20_000
    )
    create_topics(kafka)
    with ingest_on(kafka, tmp_path) as ingest:
        large = SHORT | {"event_data": SHORT["event_data"] | {"x": os.urandom(100_000).hex()}}
        lines = [json.dumps(event) for event in (SHORT, large, SHORT, SHORT)]
        answer = ingest.post("/v1/events", content="\n".join(lines), headers=LINES)
        problem = answer.json()
        assert (answer.status_code, problem["type"]) == (413, "urn:piperoll:problem:too-large")
        assert [item["line"] for item in problem["not_recorded"]] == [2]
        durable = [item["id"] for item in problem["durable"]]
        assert [item["line"] for item in problem["durable"]][:1] == [1]
        assert len(durable) + len(problem["unknown"]) == 3
        assert set(durable) <= set(ingest.ids())
        assert "max.message.bytes" in problem["detail"]
        for _ in range(2):
            until(lambda: ready(ingest))
            alone = ingest.post("/audit?wait=0", json=large | {"id": "alone"})
            assert (alone.status_code, alone.json()["not_recorded"]) == (413, [{"id": "alone"}])
        until(lambda: post(ingest, "after").status_code == 202)
        assert {"after", *durable} <= set(ingest.ids())


BREAKS_SENDING = """
from kafka import KafkaProducer
real = KafkaProducer.send
def send(self, topic, value, **rest):
    if b"breaks-the-thread" in value:
        raise AssertionError("a state that cannot be")
    return real(self, topic, value, **rest)
KafkaProducer.send = send
"""
BREAKS_LISTENING = """
from kafka import KafkaConsumer
def poll(self, **_):
    raise AssertionError("a state that cannot be")
KafkaConsumer.poll = poll
"""


def broken_by(folder: Path, code: str) -> str:
    """A PYTHONPATH under which every process runs the code first."""
    (folder / "sitecustomize.py").write_text(code)
    return f"{folder}:{ROOT}"


def test_a_publisher_that_fails_unexpectedly_ends_the_process_and_says_what_became_of_each_event(
    broker, tmp_path
):
    path = broken_by(tmp_path, BREAKS_SENDING)
    with ingest_on(topics_on(broker), tmp_path, PYTHONPATH=path) as ingest:
        identifiers = ["a", "breaks-the-thread", "c"]
        lines = [json.dumps(EVENT | {"id": identifier}) for identifier in identifiers]
        answer = ingest.client.post("/v1/events", content="\n".join(lines), headers=LINES)
        assert answer.status_code == 503
        problem = answer.json()
        assert problem["durable"] == [{"line": 1, "id": "a"}]
        assert problem["unknown"] == [{"line": 2, "id": "breaks-the-thread"}]
        assert problem["not_recorded"] == [{"line": 3, "id": "c"}]
        assert ingest.service.wait(15) == 1
        assert ingest.ids() == ["a"]
        for said in ("thread_failed", '"publisher"', "a state that cannot be", "start ingest again"):
            assert said in ingest.service.log()


def test_a_listener_for_replies_that_fails_unexpectedly_ends_the_process(broker, tmp_path):
    path = broken_by(tmp_path, BREAKS_LISTENING)
    with ingest_on(topics_on(broker), tmp_path, ready=False, PYTHONPATH=path) as ingest:
        assert ingest.service.wait(20) == 1
        for said in ("thread_failed", '"replies"', "a state that cannot be", "start ingest again"):
            assert said in ingest.service.log()


def test_a_broker_that_dies_and_comes_back_loses_nothing_that_was_answered_2xx(own_broker, tmp_path):
    kafka = topics_on(own_broker.broker.address)
    with ingest_on(kafka, tmp_path, INGEST_DELIVERY_TIMEOUT="2") as ingest:
        accepted, refused = [], 0
        for phase in ("a", "b", "c"):
            if phase == "b":
                own_broker.kill()
            if phase == "c":
                own_broker.start()
                until(lambda: ready(ingest), 30)
            for number in range(20):
                answer = post(ingest, f"{phase}{number}")
                if answer.status_code == 202:
                    accepted.append(f"{phase}{number}")
                else:
                    refused += answer.status_code == 503
        assert len(accepted) + refused == 60
        assert accepted == [f"{phase}{number}" for phase in "ac" for number in range(20)]
        assert set(accepted) <= set(ingest.ids())


def test_ingest_starts_without_a_broker_refuses_at_once_and_ends_cleanly(tmp_path):
    kafka = KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}")
    with ingest_on(kafka, tmp_path, ready=False) as ingest:
        until(lambda: _answers(ingest))
        assert ingest.client.get("/readyz").status_code == 503
        answer = post(ingest, "x")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "127.0.0.1" not in answer.text
        process = psutil.Process(ingest.service.pid)
        # an attempt opens files and its end gives them back: the fewest of some seconds tell what stays
        early, late = (
            min(process.num_fds() for _ in range(100) if time.sleep(0.04) is None) for _ in range(2)
        )
        assert late <= early
        assert process.num_threads() < 20
        assert ingest.service.stop(15) == 0


def _answers(ingest: Ingest) -> bool:
    try:
        return ingest.client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_missing_topics_are_told_by_readyz_and_found_when_made(broker, tmp_path):
    kafka = KafkaSettings(bootstrap_servers=broker, topic_prefix=f"later{free_port()}", partitions=1)
    with ingest_on(kafka, tmp_path, ready=False) as ingest:
        until(lambda: _answers(ingest) and "piperoll topics create" in ingest.client.get("/readyz").text)
        assert post(ingest, "x").status_code == 503
        create_topics(kafka)
        until(lambda: ready(ingest), 30)
        assert post(ingest, "x").status_code == 202


def test_overload_is_refused_before_bodies_are_read_and_memory_stays_bounded(own_broker, tmp_path):
    kafka = topics_on(own_broker.broker.address)
    limits = {
        "INGEST_MAX_REQUESTS": "20",
        "INGEST_MAX_INFLIGHT_BYTES": str(16 * MIB),
        "INGEST_DELIVERY_TIMEOUT": "4",
    }
    with ingest_on(kafka, tmp_path, **limits) as ingest:
        body = json.dumps(SHORT | {"event_data": SHORT["event_data"] | {"x": "y" * (MIB - 4096)}}).encode()
        assert post(ingest, "warm").status_code == 202
        process = psutil.Process(ingest.service.pid)
        own_broker.signal(signal.SIGSTOP)

        def send(number: int) -> httpx.Response:
            content = body if number % 2 else json.dumps(SHORT).encode()
            headers = {"Content-Type": "application/json"}
            return ingest.client.post("/audit?wait=0", content=content, headers=headers)

        with ThreadPoolExecutor(60) as pool:
            answers = [pool.submit(send, number) for number in range(240)]
            largest = 0
            while not all(answer.done() for answer in answers):
                largest = max(largest, process.memory_info().rss)
                time.sleep(0.02)
        found = [answer.result() for answer in answers]
        assert {answer.status_code for answer in found} == {503}
        kinds = [answer.json()["type"].rpartition(":")[2] for answer in found]
        assert kinds.count("overload") > 20
        assert all(int(answer.headers["retry-after"]) > 0 for answer in found)
        assert largest < 300 * MIB
        own_broker.signal(signal.SIGCONT)
        until(lambda: ready(ingest), 30)
        assert post(ingest, "after").status_code == 202
        assert ingest.metric("piperoll_ingest_in_flight_requests") == 0
        assert ingest.metric("piperoll_ingest_in_flight_bytes") == 0


@pytest.mark.parametrize("path", ["/audit?wait=0", "/nowhere"])
def test_who_is_refused_before_the_body_is_read_reads_the_answer_and_is_told_of_the_end(
    broker, tmp_path, path
):
    """Else a client takes the connection for good, and its next request is cut off without an answer."""
    file = tmp_path / "keys.yaml"
    create_key(file, "billing", ["ingest"])
    limits = {"INGEST_HOST": "0.0.0.0", "API_KEYS_FILE": str(file)}
    with ingest_on(topics_on(broker), tmp_path, **limits) as ingest:
        where = ("127.0.0.1", ingest.service.port)
        for size, kept in ((1000, True), (4 * MIB, False)):
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()
            for _ in range(20):
                with socket.create_connection(where, timeout=10) as client:
                    client.sendall(head + bytes(size // 2))
                    if not kept:  # the answer is there before the rest is sent, and sending it breaks nothing
                        answer = client.recv(4096)
                    client.sendall(bytes(size - size // 2))
                    if kept:
                        answer = client.recv(4096)
                    assert answer.split()[1] in (b"401", b"404")
                    assert (b"connection: close" in answer.lower()) is not kept
                    if kept:
                        client.sendall(head + bytes(size))
                        assert client.recv(4096).startswith(answer[:12])
                    else:
                        assert client.recv(4096) == b""


def test_those_who_wait_for_a_reply_hold_no_place(broker, tmp_path):
    """The enricher may be away: that must not keep events out."""
    limits = {"INGEST_MAX_REQUESTS": "2", "INGEST_MAX_WAITING": "6"}
    with ThreadPoolExecutor(10) as pool, ingest_on(topics_on(broker), tmp_path, **limits) as ingest:

        def send() -> httpx.Response:
            while (answer := ingest.client.post("/audit?wait=60", json=SHORT, timeout=90)).status_code == 503:
                time.sleep(0.05)
            return answer

        waits = [pool.submit(send) for _ in range(10)]
        until(lambda: sum(wait.done() for wait in waits) == 4)
        assert ingest.metric("piperoll_ingest_waiting") == 6
        assert post(ingest, "between").status_code == 202
        assert ingest.metric("piperoll_ingest_waiting") == 6
        assert ingest.service.stop() == 0
        assert [wait.result().status_code for wait in waits] == [202] * 10


def test_a_body_that_comes_too_slowly_is_not_waited_for(broker, tmp_path):
    with ingest_on(topics_on(broker), tmp_path, INGEST_BODY_TIMEOUT="0.5") as ingest:
        with socket.create_connection(("127.0.0.1", ingest.service.port), timeout=10) as slow:
            slow.sendall(
                b"POST /audit HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
            )
            assert slow.recv(100).startswith(b"HTTP/1.1 408 ")
        assert ingest.metric("piperoll_ingest_in_flight_requests") == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_at_the_end_all_that_is_in_flight_becomes_durable_and_is_answered(broker, tmp_path, number):
    kafka = topics_on(broker)
    with ThreadPoolExecutor(16) as pool, ingest_on(kafka, tmp_path) as ingest:
        accepted: list[str] = []

        def send(worker: int) -> None:
            for count in range(10_000):
                identifier = f"{worker}-{count}"
                try:
                    answer = ingest.client.post("/audit?wait=0", json=SHORT | {"id": identifier})
                except httpx.TransportError:
                    return
                if answer.status_code != 202:
                    assert answer.status_code == 503
                    return
                accepted.append(identifier)

        waiting = pool.submit(ingest.client.post, "/audit?wait=60", json=SHORT, timeout=60)
        senders = [pool.submit(send, worker) for worker in range(8)]
        until(lambda: len(accepted) > 100, 60)
        ingest.service.signal(number)
        assert ingest.service.wait(20) == 0
        assert waiting.result().status_code == 202
        for sender in senders:
            sender.result()
        found = [json.loads(message.value)["id"] for message in messages(kafka, kafka.topics.events)]
        assert set(accepted) <= set(found)
        assert len(set(found)) == len(found)


def test_a_client_that_hangs_does_not_hold_up_the_end(broker, tmp_path):
    with (
        ingest_on(topics_on(broker), tmp_path, INGEST_STOP_TIMEOUT="1") as ingest,
        socket.create_connection(("127.0.0.1", ingest.service.port)) as slow,
    ):
        slow.sendall(
            b"POST /audit HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
        )
        until(lambda: ingest.metric("piperoll_ingest_in_flight_requests") == 1)
        assert ingest.service.stop(20) == 0


def test_beyond_loopback_a_key_is_required_and_its_name_recorded(broker, tmp_path):
    file = tmp_path / "keys.yaml"
    billing = create_key(file, "billing", ["ingest"], ["/billing/*"])
    reader = create_key(file, "reader", ["read"])
    with ingest_on(topics_on(broker), tmp_path, INGEST_HOST="0.0.0.0", API_KEYS_FILE=str(file)) as ingest:

        def send(token: str | None, source: str | None = None) -> httpx.Response:
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            event = SHORT if source is None else SHORT | {"source": source}
            return ingest.post("/audit?wait=0", json=event, headers=headers)

        refused = send(None)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Bearer realm="piperoll"')
        assert send(billing[:-1]).status_code == 401
        assert send(reader).status_code == 403
        assert send(billing, "/other").status_code == 403
        assert send(billing).status_code == 403
        assert send(billing, "/billing/eu").status_code == 202
        [message] = ingest.messages()
        assert dict(message.headers)["piperoll-key"] == b"billing"
        later = create_key(file, "later")
        until(lambda: send(later).status_code == 202)
        assert json.loads(ingest.messages()[-1].value)["source"] in ("later", "/billing/eu")
        remove_key(file, "later")
        until(lambda: send(later).status_code == 401)
        for path in ("/healthz", "/readyz"):
            assert ingest.client.get(path).status_code == 200


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"INGEST_HOST": "0.0.0.0"}, "API_KEYS_FILE"),
        ({"API_KEYS_FILE": "/nowhere/keys.yaml"}, "API_KEYS_FILE"),
        ({"INGEST_PORT": "http"}, "INGEST_PORT"),
        ({"INGEST_MAX_INFLIGHT_BYTES": "2000"}, "INGEST_MAX_INFLIGHT_BYTES"),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}, "KAFKA_SASL_USERNAME"),
        ({"CATALOG_DIR": "/nowhere"}, "/nowhere"),
    ],
)
def test_wrong_settings_end_it_with_2_and_are_named(tmp_path, variables, named):
    with ingest_on(KafkaSettings(), tmp_path, ready=False, **variables) as ingest:
        assert ingest.service.wait(20) == 2
        assert named in ingest.service.log()


def test_a_port_that_is_taken_ends_it_with_1_and_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with ingest_on(KafkaSettings(), tmp_path, ready=False, INGEST_PORT=port) as ingest:
            assert ingest.service.wait(20) == 1
            assert f"INGEST_PORT={port}" in ingest.service.log()


def test_a_large_batch_goes_through_whole(broker, tmp_path):
    with ingest_on(topics_on(broker), tmp_path) as ingest:
        lines = [
            json.dumps(EVENT | {"id": str(number), "source": f"/{number % 7}"}) for number in range(10_000)
        ]
        answer = ingest.post("/v1/events", content="\n".join(lines), headers=LINES)
        assert answer.status_code == 202
        found = ingest.messages()
        assert sorted(message.value.decode() for message in found) == sorted(lines)
        for source in range(7):
            numbers = [int(json.loads(m.value)["id"]) for m in found if m.key == f"/{source}".encode()]
            assert numbers == sorted(numbers)
