"""A broker's start, remembered: Kafka's classes as they stand in memory once it has started (the JVM's AOT cache).

With it a start costs 4 s of CPU time instead of 10 (2 cores, Kafka 4.3.1, Java 25). `python -m deploy.local.start_cache`,
or `make broker-cache`, makes it in the user's cache folder, once for each Java and Kafka: it takes 10 to 20 s and needs
Java 25. A broker uses it where it is there; a JVM that it does not fit goes on without.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.local import processes
from deploy.local.artifacts import KAFKA_VERSION, cache_folder, kafka_jars
from deploy.local.errors import StackError
from deploy.local.java import java
from deploy.local.kafka import Broker
from deploy.local.ports import free_port

_WRITTEN_WITHIN_S = 180.0


def start_cache(program: Path, jars: Sequence[Path], environ: Mapping[str, str] = os.environ) -> Path:
    """Where the cache of this Java and these jars is, or would be."""
    build = program.resolve()
    stamp = [str(build), str(build.stat().st_mtime_ns), *map(str, jars)]
    name = hashlib.sha256("\n".join(stamp).encode()).hexdigest()[:16]
    return cache_folder(environ) / f"kafka-{KAFKA_VERSION}-{name}.aot"


def make_start_cache(program: Path, jars: Sequence[Path], cache: Path) -> None:
    """Starts a broker of its own and stops it: at its end the JVM writes the cache. Raises StackError."""
    with TemporaryDirectory(dir=cache.parent, prefix=".start-") as scratch:
        draft = Path(scratch) / cache.name
        broker = Broker(
            Path(scratch) / "kafka",
            free_port(),
            free_port(),
            program,
            jars,
            profile="fast",
            options=(f"-XX:AOTCacheOutput={draft}",),
        )
        handle = broker.start()
        try:
            broker.wait_ready(handle)
        finally:
            processes.stop(handle, grace=_WRITTEN_WITHIN_S)
        if not draft.is_file():
            raise StackError(
                f"{program} wrote no cache. The last lines of its log:\n{processes.tail(broker.log)}"
            )
        draft.replace(cache)


def main() -> int:
    """Makes it where it is missing. A broker starts without it too: that it cannot be made is said, and no failure."""
    try:
        program, jars = java(), kafka_jars(print)
        cache = start_cache(program, jars)
        if not cache.is_file():
            print("remembering a broker's start, once (10 to 20 s)", flush=True)
            make_start_cache(program, jars, cache)
    except (StackError, OSError) as error:
        print(f"no start cache: brokers start without it. {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
