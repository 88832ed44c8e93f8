"""One Apache Kafka broker on the loopback address: KRaft, broker and controller in one process, plain text."""

from __future__ import annotations

import base64
import os
import socket
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from uuid import uuid4

from deploy.local import processes
from deploy.local.errors import StackError
from deploy.local.ports import LOOPBACK

_COMMON = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "log.cleaner.dedupe.buffer.size": str(8 * 1024 * 1024),
}
_PROFILES = {
    "local": {
        "offsets.topic.num.partitions": "5",
        "transaction.state.log.num.partitions": "5",
        "group.initial.rebalance.delay.ms": "500",
    },
    # What tests need: dead consumers noticed within a second or three, groups formed at once.
    "fast": {
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.num.partitions": "1",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "log.index.size.max.bytes": str(1024 * 1024),
        "log.initial.task.delay.ms": "500",
    },
}
_HEAP = {
    "local": ["-Xms256m", "-Xmx512m", "-XX:+UseSerialGC"],
    "fast": ["-Xms96m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"],
}
_METADATA = 3  # Kafka's number for the request
Profile = Literal["local", "fast"]


@dataclass(frozen=True)
class Broker:
    """Where a broker keeps its data, and the two ports that it listens on. `extra`: properties over ours; `options`: of
    its JVM, beside ours; `cache`: a start that is remembered, used where there is one (start_cache.py)."""

    folder: Path
    port: int
    controller_port: int
    java: Path
    jars: Sequence[Path]
    profile: Profile = "local"
    extra: Mapping[str, str] = field(default_factory=dict)
    options: Sequence[str] = ()
    cache: Path | None = None

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "broker.log"

    def start(self) -> processes.Handle:
        """Formats the folder at the first start, then starts the broker. Raises StackError."""
        data = self.folder / "data"
        self.folder.mkdir(parents=True, exist_ok=True)
        properties = self.folder / "server.properties"
        lines = self._properties(data)
        text = "".join(f"{name}={_escaped(lines[name])}\n" for name in lines)
        properties.write_text(text, encoding="utf-8")
        if not (data / "meta.properties").is_file() or not (data / "bootstrap.checkpoint").is_file():
            self._format(properties)
        command = self._command("kafka.Kafka", str(properties), options=self.options)
        return processes.start(command, log=self.log, environ=_environment(), folder=self.folder)

    def wait_ready(self, handle: processes.Handle, timeout: float = 60.0) -> None:
        """Until the broker answers. Raises StackError where it ends or takes longer than `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not self._answers():
            if not handle.alive:
                raise StackError(
                    f"Kafka ended at start. The last lines of {self.log}:\n{processes.tail(self.log)}"
                )
            if time.monotonic() > deadline:
                raise StackError(
                    f"Kafka did not answer on {self.address} within {timeout:.0f} s. "
                    f"The last lines of {self.log}:\n{processes.tail(self.log)}"
                )
            time.sleep(0.1)

    def _answers(self) -> bool:
        """Whether the broker names itself in its metadata: then it takes requests.

        Asked by hand, as clients of kafka-python leave sockets open when the broker is not there.
        """
        body = struct.pack(">hhihi?", _METADATA, 4, 1, -1, 0, False)  # no client id, no topics
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=2) as connection:
                connection.sendall(struct.pack(">i", len(body)) + body)
                answer = connection.makefile("rb").read(16)
        except OSError:
            return False
        if len(answer) < 16:
            return False
        _size, _correlation, _throttle, brokers = struct.unpack(">iiii", answer)
        return bool(brokers)

    def _properties(self, data: Path) -> dict[str, str]:
        return (
            _COMMON
            | _PROFILES[self.profile]
            | {
                "controller.quorum.voters": f"1@{LOOPBACK}:{self.controller_port}",
                "listeners": f"PLAINTEXT://{self.address},CONTROLLER://{LOOPBACK}:{self.controller_port}",
                "advertised.listeners": f"PLAINTEXT://{self.address}",
                "log.dirs": str(data),
            }
            | dict(self.extra)
        )

    def _format(self, properties: Path) -> None:
        cluster = base64.urlsafe_b64encode(b"\x01" + uuid4().bytes[1:]).rstrip(b"=").decode()
        command = self._command(
            "kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", cluster, "-c", str(properties)
        )
        answer = subprocess.run(
            command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env=_environment()
        )
        if answer.returncode != 0:
            raise StackError(f"Kafka cannot prepare {self.folder}:\n{answer.stderr or answer.stdout}")

    def _command(self, main: str, *arguments: str, options: Sequence[str] = ()) -> list[str]:
        settings = Path(__file__).with_name("log4j2.properties")
        known = self.cache is not None and self.cache.is_file()
        return [
            str(self.java),
            *_HEAP[self.profile],
            *([f"-XX:AOTCache={self.cache}"] if known else []),
            *options,
            "-XX:+ExitOnOutOfMemoryError",
            "-Djava.awt.headless=true",
            f"-Dlog4j2.configurationFile={settings}",
            "-cp",
            os.pathsep.join(map(str, self.jars)),
            main,
            *arguments,
        ]


def _escaped(text: str) -> str:
    """As a value in a file of Java properties: PEM has several lines."""
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _environment() -> dict[str, str]:
    """The environment without what would change the broker's Java behind our back."""
    return {name: text for name, text in os.environ.items() if name not in {"JAVA_TOOL_OPTIONS", "CLASSPATH"}}
