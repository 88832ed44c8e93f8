"""The whole of Piperoll on this machine: `up` starts broker, database and services, `down` ends them.

Every process has a pid file before anything else happens, so whatever interrupts `up`, the next `up` or `down` finds
what it left. What the environment gives (KAFKA_BOOTSTRAP_SERVERS, DATABASE_URL, PG_HOST) is used, not started.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx

from deploy.local import processes
from deploy.local.artifacts import cache_folder
from deploy.local.errors import StackError
from deploy.local.home import Home, alone, fresh_log
from deploy.local.interrupts import interruptible, shielded
from deploy.local.parts import given, start_broker, start_database, use_given_database
from deploy.local.ports import Ports
from deploy.local.postgres import stop_database
from deploy.local.services import Service, wanted_services
from deploy.local.state import State, load_services, load_state
from services.common.kafka import create_topics
from services.common.settings import KafkaSettings, environment, read_settings, read_variable

READY_SECONDS = 90.0
_SPEAK_SECONDS = 5.0
_SUPERVISOR_GRACE = 45.0
_SESSION_MS = "10000"
"""A service that was killed is missed after 10 s instead of Kafka's 45."""

Say = Callable[[str], None]
"""Takes one line of progress."""


def up(
    home: Home,
    say: Say,
    environ: Mapping[str, str] = os.environ,
    services: Sequence[Service] | None = None,
) -> State:
    """Starts everything and returns when all are ready; leaves nothing behind when it fails or is interrupted.

    Where everything runs already, says so. `services`: others than those that the environment asks for. Raises
    StackError, ConfigurationError or TransientError.
    """
    with alone(home, say), interruptible():
        state = load_state(home)
        if state is not None and _all_running(home, state):
            say("already up; settings given now count after `piperoll down` and `piperoll up`")
            return state
        if _stop_everything(home, say):
            say("ended what an earlier run had left")
        try:
            with closing(Ports(say, cache_folder(environ))) as ports:
                return _start(home, environ, services, ports, say)
        except BaseException:
            with shielded():
                _stop_everything(home, _say_nothing)
            say("ended what was started")
            raise


def down(home: Home, say: Say) -> list[str]:
    """Ends everything that `up` started; returns the names of what ran."""
    with alone(home, say), interruptible(), shielded():
        return _stop_everything(home, say)


def _start(
    home: Home, environ: Mapping[str, str], services: Sequence[Service] | None, ports: Ports, say: Say
) -> State:
    variables = environment(environ=environ)
    settings = read_settings(KafkaSettings, variables)
    services = wanted_services(variables) if services is None else services
    own_broker = not given(variables, "KAFKA_BOOTSTRAP_SERVERS")
    own_database = not given(variables, "DATABASE_URL", "PG_HOST")
    if own_broker:
        broker, broker_handle = start_broker(home, ports, variables, say)
        settings = settings.model_copy(
            update={"bootstrap_servers": broker.address, "security_protocol": "PLAINTEXT"}
        )
    database_port = start_database(home, ports, variables, say) if own_database else None
    if not own_database:
        use_given_database(home, variables, say)
    if own_broker:
        broker.wait_ready(broker_handle)
        say(f"Kafka is ready on {broker.address}")
    made = create_topics(settings)
    say(f"made {len(made)} topics" if made else "all topics are there")
    state = State(
        bootstrap_servers=settings.bootstrap_servers,
        own_broker=own_broker,
        database_port=database_port,
        topic_prefix=settings.topic_prefix,
        ports={service.name: ports.take(service.port, service.name) for service in services},
        tls=bool(read_variable("INGEST_SSL_CERTFILE", variables)),
    )
    if own_broker and not variables.get("KAFKA_SESSION_TIMEOUT_MS"):
        environ = {**environ, "KAFKA_SESSION_TIMEOUT_MS": _SESSION_MS}
    supervisor = _start_services(home, state, services, environ)
    with _client() as client:
        _await_ready(client, home, state, supervisor, say)
    state.save(home)
    return state


def _start_services(
    home: Home, state: State, services: Sequence[Service], environ: Mapping[str, str]
) -> processes.Handle:
    plan = {}
    for service in services:
        fresh_log(home.log(service.name))
        variables = state.service_variables(home, service.role)
        variables[service.port_variable] = str(state.ports[service.name])
        for name, folder in service.folders:
            if not environ.get(name):
                variables[name] = str(home.folder / folder)
        # -P: a folder `services` where `up` was typed must not stand before ours
        command = [sys.executable, "-P", "-m", service.module, *service.arguments]
        plan[service.name] = {"command": command, "variables": variables}
    home.plan.parent.mkdir(parents=True, exist_ok=True)
    home.plan.write_text(json.dumps(plan), encoding="utf-8")
    home.services.unlink(missing_ok=True)
    command = [sys.executable, "-P", "-m", "deploy.local.supervisor", str(home.folder)]
    with shielded():
        handle = processes.start(command, log=fresh_log(home.log("supervisor")), environ=environ)
        processes.write_handle(home.pid_file("supervisor"), handle)
    return handle


def _await_ready(
    client: httpx.Client, home: Home, state: State, supervisor: processes.Handle, say: Say
) -> None:
    deadline = time.monotonic() + READY_SECONDS
    speak = time.monotonic() + _SPEAK_SECONDS
    waiting = dict.fromkeys(state.ports, "not started yet")
    while True:
        for name in list(waiting):
            _raise_if_ended(home, name)
            wrong = _unready(client, state.url(name))
            if wrong is None:
                del waiting[name]
                say(f"{name} is ready on {state.url(name)}")
            else:
                waiting[name] = wrong
        if not waiting:
            return
        reasons = "; ".join(f"{name}: {wrong}" for name, wrong in waiting.items())
        if not supervisor.alive:
            raise StackError(
                f"the supervisor of the services ended:\n{processes.tail(home.log('supervisor'))}"
            )
        if time.monotonic() > deadline:
            raise StackError(
                f"not ready within {READY_SECONDS:.0f} s: {reasons}. The logs are in {home.folder}/logs"
            )
        if time.monotonic() > speak:
            speak += _SPEAK_SECONDS
            say(f"waiting for {reasons}")
        time.sleep(0.1)


def _raise_if_ended(home: Home, name: str) -> None:
    service = load_services(home).get(name)
    if service is not None and (service.restarts or service.state == "failed"):
        log = home.log(name)
        raise StackError(
            f"{name} ended with status {service.exit_status} before it was ready. "
            f"The last lines of {log}:\n{processes.tail(log)}"
        )


def _client() -> httpx.Client:
    """One for all questions whether a service of this machine is ready: none needs to be sure who answers."""
    return httpx.Client(timeout=2, trust_env=False, verify=False)  # noqa: S501


def _unready(client: httpx.Client, url: str) -> str | None:
    """None where /readyz says 200, else what is wrong."""
    try:
        answer = client.get(f"{url}/readyz")
    except httpx.HTTPError:
        return "does not answer yet"
    return None if answer.status_code == httpx.codes.OK else answer.text.strip()[:200]


def _all_running(home: Home, state: State) -> bool:
    services = load_services(home)
    with _client() as client:
        return all(
            name in services
            and services[name].state == "running"
            and _unready(client, state.url(name)) is None
            for name in state.ports
        )


def _stop_everything(home: Home, say: Say) -> list[str]:
    """Services first, then broker and database: nothing loses its ground while it finishes."""
    home.state.unlink(missing_ok=True)
    ended = []
    supervisor = home.pid_file("supervisor")
    if _stop_part(supervisor, _stop_politely):
        ended.append("services")
    for name, service in load_services(home).items():  # their supervisor was killed
        if service.handle is not None and service.handle.alive:
            processes.stop(service.handle, grace=30)
            ended.append(name)
    home.services.unlink(missing_ok=True)
    with ThreadPoolExecutor(max_workers=2) as pool:
        broker = pool.submit(_stop_part, home.pid_file("kafka"), _stop_politely)
        database = pool.submit(_stop_part, home.pid_file("postgres"), stop_database)
        ended += ["Kafka"] if broker.result() else []
        ended += ["PostgreSQL"] if database.result() else []
    for name in ended:
        say(f"ended {name}")
    return ended


def _say_nothing(line: str) -> None:
    del line


def _stop_politely(handle: processes.Handle) -> bool:
    return processes.stop(handle, grace=_SUPERVISOR_GRACE)


def _stop_part(pid_file: Path, stop: Callable[[processes.Handle], bool]) -> bool:
    """Ends what a pid file names, if it still runs; returns whether it did."""
    handle = processes.read_handle(pid_file)
    ran = handle is not None and handle.alive
    if handle is not None and ran:
        stop(handle)
    pid_file.unlink(missing_ok=True)
    return ran
